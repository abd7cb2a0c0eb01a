//! `cargo xtask contract`: are the images as the product takes them to be?

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{ArgGroup, Args};
use clearwater::component::Release;
use clearwater_kube::contract::Agreement;
use clearwater_testbed::Cluster;
use clearwater_testbed::contract::{self, Finding, Site, files};

/// Who answers: a deployment, or files that a program wrote.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("who").required(true).args(["namespace", "logs", "shared_config", "members"])))]
pub(crate) struct Options {
    /// Context of the cluster; without it (and without --kubeconfig), the test cluster.
    #[arg(long, requires = "namespace")]
    context: Option<String>,
    /// Kubeconfig of the cluster.
    #[arg(long, requires = "namespace")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of a Clearwater deployment in health.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Leave out the claims about missing dependencies, which start pods in a namespace made for them.
    #[arg(long, requires = "namespace")]
    no_scratch: bool,
    /// Read the log files of this folder instead: is each line read as a regular expression reads it?
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Hold this shared_config (- for standard input) against the model of the images' generator instead.
    #[arg(long, value_name = "FILE")]
    shared_config: Option<PathBuf>,
    /// A variable that the generator saw, or IP, NAMESERVER, RESOLV_CONF for what it found. May be given more than once.
    #[arg(long, value_name = "KEY=VALUE", requires = "shared_config")]
    env: Vec<String>,
    /// The release whose generator it was: hunter or classic.
    #[arg(long, requires = "shared_config", default_value = "hunter")]
    release: Release,
    /// Read this map of members, as etcd holds it (- for standard input), instead.
    #[arg(long, value_name = "FILE")]
    members: Option<PathBuf>,
    /// Show the claims that agree, too.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if let Some(folder) = &options.logs {
        return logs(folder, options.all);
    }
    if let Some(file) = &options.shared_config {
        let environment = files::environment(&options.env)?;
        return report(&files::shared_config(&text(file)?, options.release, &environment)?, options.all);
    }
    if let Some(file) = &options.members {
        let (told, findings) = files::members(&text(file)?);
        if let Some(told) = told {
            write!(io::stdout(), "{told}")?;
        }
        return report(&findings, options.all);
    }
    let namespace = options.namespace.as_deref().context("--namespace says which deployment answers")?;
    let cluster = if options.context.is_some() || options.kubeconfig.is_some() {
        Cluster::attach(options.kubeconfig.as_deref(), options.context.as_deref())?
    } else {
        Cluster::get()?
    };
    let site = Site::look(&cluster.kubectl().in_namespace(namespace))?;
    let mut findings = contract::healthy(&site);
    if !options.no_scratch {
        let scratch = cluster.namespace("contract")?;
        findings.extend(contract::alone(&site, scratch.kubectl())?);
    }
    report(&findings, options.all)
}

fn logs(folder: &Path, all: bool) -> Result<ExitCode> {
    let (files, findings) = files::logs(folder)?;
    let mut out = io::stdout().lock();
    for file in &files {
        writeln!(out, "{}: {} lines, {}", file.name, file.lines, file.counted)?;
    }
    writeln!(out, "{} files", files.len())?;
    drop(out);
    report(&findings, all)
}

fn text(file: &Path) -> Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn report(findings: &[Finding], all: bool) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    let (mut agree, mut differ, mut unseen) = (0, 0, 0);
    for finding in findings {
        match finding.agreement {
            Agreement::Agrees => agree += 1,
            Agreement::Differs { .. } => differ += 1,
            Agreement::CouldNotLook { .. } => unseen += 1,
        }
        if all || finding.agreement != Agreement::Agrees {
            writeln!(out, "{finding}")?;
        }
    }
    writeln!(out, "{agree} claims agree, {differ} differ, {unseen} could not be looked at")?;
    Ok(if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
