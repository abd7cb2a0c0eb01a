use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use clearwater::component::{Component, port};
use clearwater_kube::subscribers::{EllisKeys, Relay, RelayEvent, SubscriberError, ellis_keys};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;

use crate::advice;
use crate::arguments::PlaceArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::runtime::{block_on, unless_ended};

/// Ellis' own port.
const PORT: u16 = port(Component::Ellis, "http");

/// Open Ellis' pages, through a port of this machine that leads to its pod, until interrupted
///
/// The port listens at 127.0.0.1 alone. A pod that is replaced is followed. The sign-up code, which an account takes, is
/// shown on a terminal, or where --show asks for it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater ellis -n ims
  kubectl clearwater ellis --port 8080 --no-open
  kubectl clearwater ellis --show url      the URL alone, for scripts
  kubectl clearwater ellis --show code     the sign-up code alone")]
pub(crate) struct Ellis {
    #[command(flatten)]
    place: PlaceArgs,
    /// The port of this machine; 0 takes one that is free
    #[arg(long, value_name = "PORT", default_value = "0")]
    port: u16,
    /// What to show, and nothing else; opens no browser. With `code` nothing is forwarded
    #[arg(long, value_enum)]
    show: Option<Show>,
    /// Open no browser
    #[arg(long)]
    no_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Show {
    Url,
    Code,
}

impl Ellis {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let namespace = self.place.namespace(context, true)?;
        let signals = context.signals();
        block_on(unless_ended(&signals, async {
            let cluster = context.connection().cluster(namespace).await?;
            if self.show == Some(Show::Code) {
                let keys = ellis_keys(&cluster).await?;
                context.results().text(&format!("{}\n", keys.sign_up_code.expose_secret()))?;
                return Ok(exit::OK);
            }
            let is_terminal = std::io::stdout().is_terminal();
            // It stands there, or nothing is listened for.
            let keys = keys(context, ellis_keys(&cluster).await)?;
            let relay = Relay::listen(&cluster, Component::Ellis, PORT, self.port).await;
            let relay = relay.map_err(|e| CliError::Unready(self.busy(&e)))?;
            match relay.reach().await {
                // The pages come when the pod does.
                Ok(_) | Err(SubscriberError::NotReady { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let url = format!("http://{}/", relay.address().map_err(|e| CliError::Unready(self.busy(&e)))?);
            context.results().text(&format!("{url}\n"))?;
            if let Some(keys) = keys.filter(|_| is_terminal && self.show.is_none()) {
                let code = keys.sign_up_code.expose_secret();
                context.results().text(&format!("sign-up code: {code} ({})\n", keys.kept_in))?;
            }
            context.results().flush()?;
            let (out, mut events) = mpsc::channel(16);
            let mut running = std::pin::pin!(relay.run(out));
            if is_terminal && self.show.is_none() && !self.no_open && open::that_detached(&url).is_err() {
                context.talk().note(format!("no browser could be opened: open {url}"));
            }
            loop {
                tokio::select! {
                    error = &mut running => return Err(CliError::Unready(self.busy(&error))),
                    Some(event) = events.recv() => match event {
                        RelayEvent::LeadsTo { pod } => context.talk().line(format!("connected to pod {pod}")),
                        RelayEvent::Waits { reason } => context.talk().warning(format!("{reason}; trying again")),
                        _ => {}
                    },
                }
            }
        }))
    }

    fn busy(&self, error: &std::io::Error) -> String {
        let port = self.port;
        format!(
            "port {port} of 127.0.0.1 cannot be listened on: {error}; name another with --port, or 0 for one that is free"
        )
    }
}

/// The keys; `None`, and said why, where only they cannot be read: the pages can be reached without.
fn keys(context: &mut Context, keys: Result<EllisKeys, SubscriberError>) -> Result<Option<EllisKeys>, CliError> {
    match keys {
        Ok(keys) => Ok(Some(keys)),
        Err(error @ (SubscriberError::Keys { .. } | SubscriberError::Right { .. })) => {
            context.talk().warning(format!("the sign-up code cannot be shown: {}", advice::said(&error)));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
