//! `cargo xtask contract`: are the images as the product takes them to be?

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use clearwater_testbed::Cluster;
use clearwater_testbed::contract::{self, Finding, Site, Verdict};

/// Which deployment answers.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Context of the cluster; without it (and without --kubeconfig), the test cluster.
    #[arg(long)]
    context: Option<String>,
    /// Kubeconfig of the cluster.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Namespace of a Clearwater deployment in health.
    #[arg(short, long)]
    namespace: String,
    /// Leave out the claims about missing dependencies, which start pods in a namespace made for them.
    #[arg(long)]
    no_scratch: bool,
    /// Show the claims that agree, too.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let cluster = if options.context.is_some() || options.kubeconfig.is_some() {
        Cluster::attach(options.kubeconfig.as_deref(), options.context.as_deref())?
    } else {
        Cluster::get()?
    };
    let site = Site::look(&cluster.kubectl().in_namespace(&options.namespace))?;
    let mut findings = contract::healthy(&site);
    if !options.no_scratch {
        let scratch = cluster.namespace("contract")?;
        findings.extend(contract::alone(&site, scratch.kubectl())?);
    }
    report(&findings, options.all)
}

fn report(findings: &[Finding], all: bool) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    let (mut agree, mut differ, mut unseen) = (0, 0, 0);
    for finding in findings {
        match finding.verdict {
            Verdict::Agrees => agree += 1,
            Verdict::Differs(_) => differ += 1,
            Verdict::CouldNotLook(_) => unseen += 1,
        }
        if all || finding.verdict != Verdict::Agrees {
            writeln!(out, "{finding}")?;
        }
    }
    writeln!(out, "{agree} claims agree, {differ} differ, {unseen} could not be looked at")?;
    Ok(if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
