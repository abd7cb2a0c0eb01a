//! The daemons' log level: which file each component's daemons read it from, and what that file then holds.
//!
//! `/etc/clearwater/shared_config` is no place for it. bono's and astaire's init scripts set `log_level=2` after they
//! sourced the configuration and read only `user_settings` again (sprout `debian/bono.init.d`, astaire
//! `debian/astaire.init.d`); the others source `user_settings` last, so that it reaches them as well
//! (clearwater-infrastructure `etc/clearwater/config`). chronos reads `chronos.conf` and nothing else (chronos
//! `src/globals.cpp`), which the images' generator copies from a sample and edits in place.

use super::{Deployment, DeploymentFile};
use crate::component::{Component, USER_SETTINGS, port};

/// The file that a component's daemons read their log level from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LevelFile {
    /// `user_settings`, shell assignments that are sourced after all others.
    UserSettings,
    /// `chronos.conf.sample`, which becomes `chronos.conf` when the container starts.
    ChronosSample,
}

impl LevelFile {
    /// The file of a component; none where no level of ours reaches its programs: etcd, Cassandra and memcached are
    /// not Clearwater's.
    pub const fn of(component: Component) -> Option<Self> {
        match component {
            Component::Etcd | Component::Cassandra | Component::Memcached => None,
            Component::Chronos => Some(Self::ChronosSample),
            Component::Astaire
            | Component::Homestead
            | Component::HomesteadProv
            | Component::Homer
            | Component::Ralf
            | Component::Sprout
            | Component::Bono
            | Component::Ellis => Some(Self::UserSettings),
        }
    }

    /// Its path in the container.
    pub const fn path(self) -> &'static str {
        match self {
            Self::UserSettings => USER_SETTINGS,
            Self::ChronosSample => "/etc/chronos/chronos.conf.sample",
        }
    }

    /// Its text with a level; without one the daemons keep their own default, 2.
    ///
    /// ```
    /// use clearwater::config::LevelFile;
    ///
    /// assert_eq!(LevelFile::UserSettings.text(Some(4)), "log_level=4\n");
    /// assert!(LevelFile::ChronosSample.text(None).contains("\nlevel = 2\n"));
    /// ```
    pub fn text(self, level: Option<u8>) -> String {
        match (self, level) {
            (Self::UserSettings, Some(level)) => format!("log_level={level}\n"),
            (Self::UserSettings, None) => "# log_level is not set: the daemons' own default holds\n".to_owned(),
            // As chronos ships it (etc/chronos/chronos.conf.sample). The generator looks for the bind address as it
            // stands here.
            (Self::ChronosSample, level) => format!(
                "[http]\nbind-address = 0.0.0.0\nbind-port = {}\nthreads = 50\n\n\
                 [logging]\nfolder = /var/log/chronos\nlevel = {}\n\n\
                 [alarms]\nenabled = true\n\n[exceptions]\nmax_ttl = 600\n",
                port(Component::Chronos, "http"),
                level.unwrap_or(2)
            ),
        }
    }
}

impl DeploymentFile {
    /// The log level of a component's daemons: its own, or that of all.
    pub fn level_of(&self, component: Component) -> Option<u8> {
        self.components.get(&component).and_then(|c| c.log_level).or(self.log_level)
    }
}

impl Deployment {
    /// The log level of a component's daemons: its own, or that of all.
    pub fn log_level(&self, component: Component) -> Option<u8> {
        self.file().level_of(component)
    }
}
