//! The ordering graph: what starting and what working needs, as data.
//!
//! # The question
//!
//! A Clearwater deployment is a dozen containers that need each other. Some cannot *start* without another one:
//! homestead looks for Cassandra, does not find it and exits. Some start but cannot *work*: sprout comes up alone and
//! answers every registration with an error until homestead is there. Some merely work less well: without ralf nobody
//! is charged. And some of these needs go round in a circle: sprout sets timers in chronos, and chronos, when a timer
//! pops, calls sprout.
//!
//! And going has needs of its own: a member of chronos leaves its cluster through etcd, without which it started well.
//!
//! A [`Graph`] holds such statements as edges. Each one says what starting, working and leaving need ([`Need`]),
//! where that was read, and what is seen when the other side is missing. None of them says when to start what: that is
//! a [`Policy`]'s business, which picks the edges that *gate*. Soft needs never gate, so that their circles do no harm.
//!
//! # The shortest useful program
//!
//! ```
//! use clearwater::component::Release;
//! use clearwater::order::{Graph, Policy, Subscribers};
//!
//! let graph = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn);
//! let plan = graph.plan(Policy::Dependency)?;
//! let waves: Vec<_> = plan.waves().map(|w| w.join(" ")).collect();
//! assert_eq!(
//!     waves,
//!     [
//!         "etcd chronos",
//!         "astaire cassandra",
//!         "homestead homestead-prov homer ralf",
//!         "sprout ellis",
//!         "bono",
//!     ]
//! );
//! # Ok::<(), clearwater::order::OrderError>(())
//! ```
//!
//! # Running a plan
//!
//! Waves are for reading. An executor takes a [`Schedule`], starts what is ready, says what is done and is told what
//! that opens; nothing waits for a neighbour it does not need.
//!
//! # Taking down
//!
//! [`Graph::held_by`] says what must be gone before a node may go, whatever part of the graph is taken down and whatever
//! an earlier run has left half done.
//!
//! # A topology of one's own
//!
//! Nodes are names, so a program can add its own to Clearwater's, or begin with none:
//!
//! ```
//! use clearwater::component::Release;
//! use clearwater::order::{Graph, Link, Need, Policy, Subscribers};
//!
//! let mut graph = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn);
//! graph.add("media-server").add("conference-bridge");
//! graph.depend("conference-bridge", "media-server", Link::new(Need::Hard, Need::Hard))?;
//! graph.depend(
//!     "conference-bridge",
//!     "sprout",
//!     Link::new(Need::Soft, Need::Hard).evidence("its README").seen("no call reaches it"),
//! )?;
//! let plan = graph.plan(Policy::Dependency)?;
//! assert_eq!(plan.gates("conference-bridge").collect::<Vec<_>>(), ["sprout", "media-server"]);
//! # Ok::<(), clearwater::order::OrderError>(())
//! ```
//!
//! An edge that closes a circle is found when the graph is ordered, and the error says which:
//!
//! ```
//! use clearwater::order::{Graph, Link, Need, Policy};
//!
//! let mut graph = Graph::new();
//! graph.add("a").add("b");
//! graph.depend("a", "b", Link::new(Need::Hard, Need::None).evidence("a's manual"))?;
//! graph.depend("b", "a", Link::new(Need::Hard, Need::None).evidence("b's manual"))?;
//! assert_eq!(
//!     graph.plan(Policy::Dependency).unwrap_err().to_string(),
//!     "the ordering graph has a cycle: a waits for b waits for a; \
//!      take out or soften one of: a on b (a's manual), b on a (b's manual)"
//! );
//! # Ok::<(), clearwater::order::OrderError>(())
//! ```
//!
//! # Why not an existing graph crate
//!
//! The algorithms are fifty lines. What matters here is what they say when they fail, that equal graphs give equal
//! bytes, and that nodes are names; a general crate gives indices, and an error without the cycle.

mod clearwater;
mod down;
mod draw;
mod error;
mod graph;
mod plan;
mod policy;
mod select;
mod urgency;

pub use clearwater::{NAMES, Subscribers, before_sprout, names_gate};
pub use down::Presence;
pub use draw::{Detail, Drawing};
pub use error::{Cycle, CycleEdge, OrderError};
pub use graph::{Edge, Graph, Link, Need, Origin};
pub use plan::{CriticalPath, PathStep, Schedule, StartPlan};
pub use policy::Policy;
pub use select::{Along, Selection};
