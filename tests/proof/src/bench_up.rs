//! `up` against the longest chain of what its components need themselves, and beside other ways to deploy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater::component::Release;
use clearwater::order::{Graph, Policy, Subscribers};
use clearwater_e2e::{Plugin, Stamps, cluster, stamps};
use clearwater_testbed::{ApiProxy, Fault, Rule};
use serde::{Deserialize, Serialize};

use crate::absent::{Images, LINE};
use crate::common::{gone, now, shipped};
use crate::competitors;
use crate::floor::{self, Floor};
use crate::measured::busy;
use crate::register::{First, error_lines};
use crate::round::{Round, median};
use xtask::steps::say;
use xtask::workspace::root;

const LIMIT: Duration = Duration::from_secs(600);

fn again(plugin: &Plugin, args: &[&str]) -> Result<(Duration, Duration)> {
    let mut all = args.to_vec();
    all.extend(["-o", "json"]);
    let ran = plugin.run(&all)?.expect(0)?;
    let planned = ran.events()?.into_iter().find(|e| e["what"]["kind"] == "planned").context("no plan")?;
    Ok((Duration::from_millis(planned["elapsed"].as_u64().context("no time")?), ran.took))
}

fn critical_path(up: Up, seen: &BTreeMap<String, Stamps>, floor: Floor) -> Result<Duration> {
    let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(up.policy)?;
    ensure!(seen.len() == plan.len(), "stamps of {:?}", seen.keys());
    Ok(plan
        .critical_path(|name| {
            // What asks nobody begins before its gates open: what counts is what it needed after that.
            let gates = plan.gates(name).filter_map(|gate| seen.get(gate)).map(|s| s.serving).max().unwrap_or(0);
            let own = seen.get(name).map_or(0, |s| s.serving.saturating_sub(s.start.max(gates)));
            // Held pods are there before their turn comes, but for etcd's, which all the others wait for.
            let start = if name == "etcd" || !up.hold { floor.start } else { 0 };
            Duration::from_micros(own + floor.seen + start)
        })
        .total)
}

/// Where a delay is planted, to see whether the measurement notices it: what the page calls it, and the names of the
/// components as a pattern.
const PLANTS: [(&str, &str); 2] = [("each component", "[a-z-]+"), ("Cassandra alone", "cassandra")];
/// The images, and the run, that it is planted into.
const PLANTED: (&str, Up) = ("hunter", Up { policy: Policy::Dependency, hold: false });
const PLANTED_DELAY: Duration = Duration::from_secs(2);

/// `up` by a policy; with what needs no neighbour made at once, or each component when its turn has come.
#[derive(Clone, Copy, Debug)]
struct Up {
    policy: Policy,
    hold: bool,
}

impl Up {
    fn name(self) -> String {
        format!("`up --order {}`{}", self.policy.name(), if self.hold { "" } else { ", not held" })
    }
}

fn round(up: Up, images: &Images, floor: Floor, program: &Path, plant: Option<(&mut ApiProxy, &str)>) -> Result<Round> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-bench")?;
    let kubectl = namespace.kubectl();
    let planted = plant.is_some();
    let plugin = match plant {
        None => Plugin::new(cluster, namespace.name())?,
        Some((proxy, components)) => {
            let slow = Rule::new(Fault::Delay(PLANTED_DELAY))
                .method("PATCH")
                .path(&format!("(deployments|statefulsets)/{components}\\?&?(force=true&)?fieldManager"));
            proxy.set(&[slow])?;
            Plugin::as_user(&proxy.kubeconfig()?, namespace.name())?
        }
    };
    let plugin = plugin.with_program(program);
    let phone = if planted { None } else { Some(First::start(kubectl)?) };
    let (began, busy_before) = (now()?, busy()?);
    let hold = format!("start.hold={}", up.hold);
    let settings = images.settings();
    let mut args = vec!["up", "--yes", "--order", up.policy.name(), "--set", &hold];
    args.extend(settings.iter().map(String::as_str));
    // Where its time went, of the last round, to be looked at.
    let timeline = root().join(format!("target/prove/bench-up-{}-{}.svg", up.policy.name(), up.hold));
    let timeline = ["--timeline", timeline.to_str().context("a path that is no text")?];
    let (ran, memory) = plugin.follow(&[&args[..], &timeline].concat())?.finish(LIMIT)?;
    let busy = busy()?.saturating_sub(busy_before);
    let ran = ran.expect(0)?;
    let register = match phone {
        Some(phone) => Duration::from_micros(phone.registered()?.saturating_sub(began)),
        None => Duration::ZERO,
    };
    // Where images are brought, the chain is one of pulls as well.
    let path = match images {
        Images::There(_) => Some(critical_path(up, &stamps(kubectl)?, floor)?),
        Images::Absent(_) => None,
    };
    let transfer = images.transfer(kubectl)?;
    let errors = error_lines(kubectl)?;
    let again = if planted { None } else { Some(again(&plugin, &args)?) };
    gone(namespace)?;
    Ok(Round { wall: ran.took, path, transfer, busy, register, errors, resident: memory.resident, again })
}

fn seconds(span: Option<Duration>) -> String {
    span.map_or_else(|| "-".to_owned(), |s| format!("{:.2}", s.as_secs_f64()))
}

fn line(page: &mut String, row: &Row, rounds: &[Round]) -> Result<()> {
    let wall = median(rounds, |r| Some(r.wall)).context("no round")?;
    let worst = rounds.iter().map(|r| r.wall).max();
    let path = median(rounds, |r| r.path);
    let errors: Vec<String> = rounds.iter().map(|r| r.errors.to_string()).collect();
    writeln!(
        page,
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} / {} |",
        row.tag,
        row.place,
        row.way,
        rounds.len(),
        seconds(Some(wall)),
        seconds(worst),
        seconds(path),
        seconds(median(rounds, |r| Some(r.busy))),
        seconds(median(rounds, |r| r.transfer)),
        seconds(median(rounds, |r| (!r.register.is_zero()).then_some(r.register))),
        errors.join(" "),
        seconds(median(rounds, |r| r.again.map(|a| a.0))),
        seconds(median(rounds, |r| r.again.map(|a| a.1)))
    )?;
    Ok(())
}

/// A row of the page: images, whether the nodes have them, and a way to deploy them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Row {
    tag: String,
    place: String,
    way: String,
}

impl Row {
    /// As `--only` names it.
    fn text(&self) -> String {
        format!("{} {} {}", self.tag, self.place, self.way.replace('`', ""))
    }
}

/// Whether the nodes have the images, and how their kubelets pull those that they lack.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    There,
    Absent,
    /// One image after another, as kubelets do where nobody says otherwise.
    AbsentOneByOne,
}

impl Place {
    const ALL: [Self; 3] = [Self::There, Self::Absent, Self::AbsentOneByOne];

    const fn name(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Absent => "absent",
            Self::AbsentOneByOne => "absent, one by one",
        }
    }

    fn images(self, tag: &str) -> Result<Images> {
        if self == Self::There { Ok(Images::There(tag.to_owned())) } else { Images::absent(tag) }
    }
}

/// A way to deploy.
#[derive(Clone, Copy, Debug)]
enum Way {
    Up(Up),
    Beside(competitors::Way),
}

impl Way {
    fn name(self) -> String {
        match self {
            Self::Up(up) => up.name(),
            Self::Beside(way) => way.name().to_owned(),
        }
    }

    fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Up(Up { policy: Policy::Dependency, hold: true }),
            Self::Up(Up { policy: Policy::Dependency, hold: false }),
        ];
        all.extend([Policy::Earliest, Policy::Article].map(|policy| Self::Up(Up { policy, hold: true })));
        all.extend(competitors::ALL.map(Self::Beside));
        all
    }
}

/// What has been measured so far. It is kept beside the build, so that a run may be taken in parts of a few minutes, each
/// at a time when the machine is otherwise idle.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Kept {
    commit: String,
    floor: Option<(Floor, u64)>,
    rounds: Vec<(Row, Round)>,
    /// By what the page calls the place.
    planted: BTreeMap<String, Round>,
}

impl Kept {
    fn path() -> PathBuf {
        root().join("target/prove/bench-up.json")
    }

    /// What was kept of this commit.
    fn load(commit: &str) -> Self {
        let read = || serde_json::from_str::<Self>(&fs::read_to_string(Self::path()).ok()?).ok();
        read()
            .filter(|kept| kept.commit == commit)
            .unwrap_or_else(|| Self { commit: commit.to_owned(), ..Self::default() })
    }

    fn save(&self) -> Result<()> {
        let path = Self::path();
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(&path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn of(&self, row: &Row) -> Vec<Round> {
        self.rounds.iter().filter(|(of, _)| of == row).map(|(_, round)| *round).collect()
    }
}

/// What of it is to be run.
pub(crate) struct Parts<'a> {
    /// Only the row of this `IMAGES PLACE WAY`, or else those whose contains this, or the floor or the plant by that name; all where there is none.
    pub(crate) only: Option<&'a str>,
    /// Rounds a row.
    pub(crate) rounds: usize,
}

const TAGS: [&str; 2] = ["hunter", "hunter-lifelike"];
/// How many pods the floor is the mean of.
const FLOOR_PODS: u64 = 20;

/// Runs it, or parts of it, and yields the page of all that is known of this commit.
pub(crate) fn run(parts: &Parts<'_>, commit: &str) -> Result<String> {
    let program = shipped()?;
    let local = cluster().local()?;
    let names: Vec<String> = rows().iter().map(|(row, ..)| row.text()).collect();
    let wanted = |name: &str| {
        let names = &names;
        parts.only.is_none_or(|only| name == only || name.contains(only) && !names.iter().any(|name| name == only))
    };
    let mut kept = Kept::load(commit);
    if kept.floor.is_none() || parts.only.is_some_and(|only| only == "floor") {
        say(&format!("==> the floor, {FLOOR_PODS} pods"));
        let namespace = cluster().namespace("e2e-floor")?;
        kept.floor = Some((floor::measure(local, &namespace, FLOOR_PODS)?, FLOOR_PODS));
        kept.save()?;
    }
    let floor = kept.floor.map(|(floor, _)| floor).unwrap_or_default();
    for (row, place, way) in rows() {
        if !wanted(&row.text()) {
            continue;
        }
        let _pulls = (place == Place::AbsentOneByOne).then(|| local.pull_one_by_one()).transpose()?;
        for i in kept.of(&row).len()..parts.rounds {
            say(&format!("==> {}, {}, {}, round {}", row.tag, row.place, row.way, i + 1));
            let images = place.images(&row.tag)?;
            let measured = match way {
                Way::Up(up) => round(up, &images, floor, &program, None)?,
                Way::Beside(way) => way.round(&images)?,
            };
            kept.rounds.push((row.clone(), measured));
            kept.save()?;
        }
    }
    if wanted("plant") {
        let (up, images) = (PLANTED.1, Images::There(PLANTED.0.to_owned()));
        for (place, components) in PLANTS {
            say(&format!("==> a planted delay of 2 s: {place}"));
            let mut proxy = local.api_proxy()?;
            let planted = round(up, &images, floor, &program, Some((&mut proxy, components)))?;
            kept.planted.insert(place.to_owned(), planted);
            kept.save()?;
        }
    }
    page(&kept, fs::metadata(&program).with_context(|| format!("cannot read {}", program.display()))?.len())
}

/// Every row of the page.
fn rows() -> Vec<(Row, Place, Way)> {
    let mut rows = Vec::new();
    for tag in TAGS {
        for place in Place::ALL {
            for way in Way::all() {
                // The other policies differ by their gates alone.
                let other = matches!(way, Way::Up(up) if up.policy != Policy::Dependency);
                if place == Place::There || !other {
                    let row = Row { tag: tag.to_owned(), place: place.name().to_owned(), way: way.name() };
                    rows.push((row, place, way));
                }
            }
        }
    }
    rows
}

fn page(kept: &Kept, size: u64) -> Result<String> {
    let (floor, pods) = kept.floor.unwrap_or_default();
    let mut page = format!(
        "Times in seconds, medians. *Path* is the longest chain, over the policy's gates, of could-serve − begin of the \
         component's own programs (or the opening of its gates, where that is later) by the stand-ins' own stamps, plus the \
         floor: {:.2} s from apply to PID 1, of held pods once, and for each hop {:.2} s from the open port to the endpoint \
         (mean of {pods} pods that open a port after 0 to 2 s, under the same probes). *Processors* is how long both were \
         busy. No run is shorter than either. *REGISTER* is the time to the first registered phone, which asks Ellis for its number \
         first. *Errors* are the ERROR lines in the components' logs, round by round. *Second `up`* is the time to \
         knowing that nothing is to be changed, and to its end, with the judgement in depth. `hunter` are the quick \
         stand-ins; `hunter-lifelike` take their time as the real images do. Where images are absent, each is made larger by \
         150 MiB that all share and 48 of its own (Cassandra's 107), new ones each round, behind a line of {} MB/s that both \
         nodes share; *transfer* is what that line needed for what the pods brought to their nodes; kubelets pull side by \
         side, or one by one.\n\n",
        Duration::from_micros(floor.start).as_secs_f64(),
        Duration::from_micros(floor.seen).as_secs_f64(),
        LINE / 1_000_000,
    );
    page.push_str(
        "| images | on the nodes | way | rounds | wall | worst | path | processors | transfer | REGISTER | errors | \
         second `up` |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (row, ..) in rows() {
        let rounds = kept.of(&row);
        if rounds.is_empty() {
            writeln!(page, "| {} | {} | {} | not measured | | | | | | | | |", row.tag, row.place, row.way)?;
            continue;
        }
        line(&mut page, &row, &rounds)?;
    }
    for (place, planted) in &kept.planted {
        let row = Row { tag: PLANTED.0.to_owned(), place: Place::There.name().to_owned(), way: PLANTED.1.name() };
        let Some(without) = median(&kept.of(&row), |r| Some(r.wall)) else { continue };
        writeln!(
            page,
            "\nA delay of 2 s planted before the creation of {place}: wall {}, without it {}: {}.",
            seconds(Some(planted.wall)),
            seconds(Some(without)),
            if planted.wall > without + PLANTED_DELAY / 2 { "noticed" } else { "**not noticed**" }
        )?;
    }
    let resident = kept.rounds.iter().map(|(_, r)| r.resident).max().unwrap_or(0);
    writeln!(
        page,
        "\nThe most memory that an `up` held: {}.{} MB (40 are allowed). The program as it is measured, stripped: {}.{} MB \
         (20 are allowed).",
        resident / 1000,
        resident % 1000 / 100,
        size / 1_000_000,
        size % 1_000_000 / 100_000,
    )?;
    Ok(page)
}
