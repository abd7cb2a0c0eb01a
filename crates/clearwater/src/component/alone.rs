use serde::Serialize;

use super::{Component, Source};

/// A program that asks no other component when it starts, whatever it needs to work: started too early it says no word of
/// that, and nothing is remembered as missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AsksNobody {
    /// The component.
    pub component: Component,
    /// The program, without its group.
    pub program: &'static str,
    /// Where this was read.
    pub source: Source,
}

/// Programs that ask nobody when they start and take their time. Bono keeps connections to sprout, and Ellis pings
/// homestead-prov once.
pub const ASKS_NOBODY: &[AsksNobody] = &[
    AsksNobody {
        component: Component::Sprout,
        program: "sprout",
        source: Source("sprout src/main.cpp, sprout-base.root/etc/init.d/sprout"),
    },
    AsksNobody {
        component: Component::Ellis,
        program: "mysql",
        source: Source("clearwater-docker ellis/mysql.supervisord.conf"),
    },
];
