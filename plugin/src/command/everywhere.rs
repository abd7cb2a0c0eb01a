//! One look at every namespace that holds a deployment: what could not be looked at in one hides nothing of the others.

use std::time::Duration;

use anstyle::Style;
use clearwater_kube::Cluster;
use clearwater_kube::observe::places::places;
use futures::StreamExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;
use crate::reporter::{WARN, plain};
use crate::runtime::{block_on, unless_ended};
use crate::table::{Table, screen};

/// The version of what `-o json` writes.
const VERSION: u32 = 1;
/// In how many namespaces is looked at the same time.
const AT_ONCE: usize = 4;

/// What was seen of every namespace that holds a deployment.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Everywhere<T> {
    /// The version of this format.
    v: u32,
    /// The namespaces, by name.
    namespaces: Vec<Place<T>>,
}

/// What was seen of one namespace.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place<T> {
    /// The namespace.
    pub(super) namespace: String,
    /// What was seen; none where nothing could be looked at.
    pub(super) seen: Option<T>,
    /// Why nothing could be looked at.
    pub(super) error: Option<String>,
}

/// How what was seen is told: the cells of its line, the namespace first, the style of the second, and the exit code.
pub(super) type Told<const N: usize> = ([String; N], Style, u8);

/// Looks everywhere.
pub(super) fn look<T, F>(
    context: &Context,
    within: Duration,
    look: impl Fn(Cluster) -> F,
) -> Result<Vec<Place<T>>, CliError>
where
    F: Future<Output = Result<T, String>>,
{
    let signals = context.signals();
    block_on(unless_ended(&signals, async {
        let (cluster, _) = context.connection().cluster_within("default", within).await?;
        let all = places(&cluster, within).await.map_err(|error| CliError::Connection(error.to_string()))?;
        let looks = futures::stream::iter(all).map(|namespace| {
            let looking = look(cluster.beside(namespace.clone()));
            async move {
                let (seen, error) = match looking.await {
                    Ok(seen) => (Some(seen), None),
                    Err(error) => (None, Some(plain(&error))),
                };
                Place { namespace, seen, error }
            }
        });
        Ok(looks.buffered(AT_ONCE).collect::<Vec<_>>().await)
    }))
}

/// Looks everywhere and tells what was seen, in one table or in a format for programs. The exit code is the worst of all:
/// what is unwell before what could not be looked at.
pub(super) fn run<T, F, const N: usize>(
    context: &mut Context,
    head: [&'static str; N],
    (within, output): (Duration, Option<Format>),
    each: impl Fn(Cluster) -> F,
    tell: impl Fn(&str, &T) -> Told<N>,
) -> Result<u8, CliError>
where
    T: Serialize,
    F: Future<Output = Result<T, String>>,
{
    if output.is_none() {
        context.talk().line("all namespaces");
    }
    let namespaces = look(context, within, each)?;
    let one = |Place { namespace, seen, error }: &Place<T>| match seen {
        Some(seen) => tell(namespace, seen),
        None => unseen(namespace, error.as_deref().unwrap_or_default()),
    };
    let told: Vec<Told<N>> = namespaces.iter().map(one).collect();
    let code = worst(told.iter().map(|(.., code)| *code));
    if let Some(format) = output {
        context.results().value(format, &Everywhere { v: VERSION, namespaces })?;
        return Ok(code);
    }
    if namespaces.is_empty() {
        context.results().styled(&format!("{WARN}nothing was looked at: no namespace holds a deployment{WARN:#}\n"))?;
        return Ok(code);
    }
    let styles: Vec<Style> = told.iter().map(|(_, style, _)| *style).collect();
    let table = Table::new(head, told.into_iter().map(|(cells, ..)| cells).collect(), screen());
    context.results().text(&format!("{}\n", table.head()))?;
    for (n, style) in styles.into_iter().enumerate() {
        context.results().styled(&format!("{}\n", table.row(n, style)))?;
    }
    Ok(code)
}

/// The line of a namespace of which nothing could be seen: why stands in the last cell.
fn unseen<const N: usize>(namespace: &str, why: &str) -> Told<N> {
    let cells = std::array::from_fn(|n| match n {
        0 => namespace.to_owned(),
        1 => "unseen".to_owned(),
        n if n + 1 == N => plain(why),
        _ => "-".to_owned(),
    });
    (cells, WARN, exit::FAILURE)
}

/// The worst of the exit codes. Where nothing was looked at, nothing is known.
fn worst(codes: impl Iterator<Item = u8>) -> u8 {
    let rank = |code: &u8| match *code {
        exit::OK => 0,
        exit::UNHEALTHY => 2,
        _ => 1,
    };
    codes.max_by_key(rank).unwrap_or(exit::FAILURE)
}

/// The first of some texts, and how many there are besides.
pub(super) fn first_of<'a>(mut texts: impl Iterator<Item = &'a str>) -> String {
    let Some(first) = texts.next() else { return String::new() };
    match texts.count() {
        0 => plain(first),
        n => format!("{} (and {n} more)", plain(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_worst_of_all() {
        for (codes, expected) in [
            (&[exit::OK, exit::OK][..], exit::OK),
            (&[exit::OK, exit::FAILURE], exit::FAILURE),
            (&[exit::FAILURE, exit::UNHEALTHY, exit::OK], exit::UNHEALTHY),
            (&[], exit::FAILURE),
        ] {
            assert_eq!(worst(codes.iter().copied()), expected, "{codes:?}");
        }
        let (cells, _, code) = unseen("b", "needs list pods");
        assert_eq!(cells, ["b", "unseen", "-", "-", "-", "-", "needs list pods"]);
        assert_eq!(code, exit::FAILURE);
        assert_eq!(first_of(["a\u{1b}", "b", "c"].into_iter()), format!("{} (and 2 more)", plain("a\u{1b}")));
    }
}
