//! Registers, messages and calls through a deployment that runs: `cargo run --example phone -- NAMESPACE [ROUNDS]`.

use std::io::Write;

use anyhow::{Context, Result};
use clearwater_testbed::Local;
use clearwater_testbed::layout::Layout;
use clearwater_testbed::sip::{Phone, Transport};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let namespace = arguments.next().context("usage: phone NAMESPACE [ROUNDS]")?;
    let rounds: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let cluster = Local::open(&Layout::name_from_environment())?;
    let phone = Phone::start(&cluster.kubectl().in_namespace(&namespace))?;
    let users = phone.provision("ellis", 2)?;
    let mut out = std::io::stdout();
    for _ in 0..rounds {
        for transport in [Transport::Tcp, Transport::Udp] {
            for (step, outcome) in phone.exercise("bono", &users[0], &users[1], transport)?.steps {
                writeln!(out, "{transport:?} {step}: {outcome}")?;
            }
        }
    }
    Ok(())
}
