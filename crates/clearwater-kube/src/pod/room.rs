//! How full the file systems of a container are, as `df` there tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Script;

/// A line for each directory that is there: blocks of 1,024 bytes in all, taken and free to take, and where its file system
/// is mounted (POSIX, `df -P`). The arguments are directories.
const ROOM: &str = r#"for dir in "$@"; do
  [ -d "$dir" ] || continue
  { read -r head; read -r fs all used free percent mount; } < <(df -Pk "$dir" 2>/dev/null) || continue
  printf 'room %s %s %s %s\n' "$all" "$used" "$free" "$mount"
done
echo end"#;

const BLOCK: u64 = 1024;

/// The room in a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// How large it is, in bytes.
    pub capacity: u64,
    /// Bytes that are taken.
    pub used: u64,
    /// Bytes that may still be taken: less than what is left, where some are kept back for root.
    pub available: u64,
}

impl Room {
    /// How much of what may be taken is taken, in per cent, as `df` tells it: rounded up. `None` where there is nothing to take.
    ///
    /// ```
    /// use clearwater_kube::pod::Room;
    ///
    /// assert_eq!(Room { capacity: 1000, used: 301, available: 600 }.percent(), Some(34));
    /// ```
    pub fn percent(&self) -> Option<u8> {
        let (used, all) = (u128::from(self.used), u128::from(self.used) + u128::from(self.available));
        if all == 0 { None } else { u8::try_from((used * 100).div_ceil(all)).ok() }
    }
}

/// What makes a container tell of the room where these directories are.
pub(crate) fn ask_room<'d>(directories: impl IntoIterator<Item = &'d str>) -> Script {
    Script::new(ROOM).args(directories)
}

/// Reads the answer: the room of each file system, by where it is mounted, in the order of the directories. `None` where the
/// answer has no end.
pub(crate) fn read_room(text: &str) -> Option<Vec<(String, Room)>> {
    let room = |line: &str| {
        let mut words = line.strip_prefix("room ")?.splitn(4, ' ');
        let mut bytes = || words.next()?.parse::<u64>().ok()?.checked_mul(BLOCK);
        let room = Room { capacity: bytes()?, used: bytes()?, available: bytes()? };
        Some((words.next()?.to_owned(), room))
    };
    text.lines().any(|line| line == "end").then(|| text.lines().filter_map(room).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The script on this machine's own bash.
    #[test]
    fn what_df_tells_of_directories_that_are_there_is_read() {
        let line = ask_room(["/", "/no such directory", "/proc"]).line().unwrap();
        let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
        let told = read_room(&String::from_utf8(output.stdout).unwrap()).unwrap();
        assert_eq!(told.iter().map(|(at, _)| at.as_str()).collect::<Vec<_>>(), ["/", "/proc"]);
        assert!(told[0].1.percent().is_some_and(|percent| percent <= 100), "{told:?}");
        // There is nothing to take.
        assert_eq!(told[1].1.percent(), None);
    }

    #[test]
    fn per_cents_are_those_of_df() {
        let percent = |used, available| Room { capacity: 0, used, available }.percent();
        assert_eq!((percent(0, 10), percent(10, 0), percent(0, 0)), (Some(0), Some(100), None));
        assert_eq!((percent(1, 999), percent(995, 5)), (Some(1), Some(100)));
        assert_eq!(percent(u64::MAX, u64::MAX), Some(50));
    }

    #[test]
    fn half_an_answer_is_none_and_a_line_that_is_none_is_left_out() {
        assert_eq!(read_room("room 4 2 2 /\n"), None);
        let told = read_room("room 4 2 1 /var/lib/a b\nroom - - - /x\nroom 1 1 1\nend\n").unwrap();
        assert_eq!(told, [("/var/lib/a b".to_owned(), Room { capacity: 4096, used: 2048, available: 1024 })]);
    }

    proptest! {
        #[test]
        fn no_number_is_too_large(all: u64, used: u64, free: u64) {
            let told = read_room(&format!("room {all} {used} {free} /\nend\n")).unwrap();
            prop_assert!(told.iter().all(|(_, room)| room.percent().is_none_or(|p| p <= 100)));
        }
    }
}
