use std::collections::HashMap;
use std::sync::Arc;

use clearwater_kube::logs::LogSource;
use foldhash::fast::FixedState;

/// As many sources as are remembered at once.
const MOST: usize = 4096;

/// A value for each source. A source is told from others by its address, so that nothing of it is compared or put
/// together for every record.
#[derive(Debug)]
pub(super) struct BySource<V> {
    /// The sources are kept with their values, so that an address is not given to another.
    values: Vec<(Arc<LogSource>, V)>,
    places: HashMap<*const LogSource, usize, FixedState>,
    /// The source that was asked for last, and its place.
    last: Option<(*const LogSource, usize)>,
}

impl<V> Default for BySource<V> {
    fn default() -> Self {
        Self { values: Vec::new(), places: HashMap::default(), last: None }
    }
}

impl<V> BySource<V> {
    /// The value of a source. It is made where the source is new, or was forgotten because there were too many.
    pub(super) fn get(&mut self, source: &Arc<LogSource>, make: impl FnOnce(&LogSource) -> V) -> &V {
        let address = Arc::as_ptr(source);
        let place = match self.last {
            Some((last, place)) if last == address => place,
            _ => self.places.get(&address).copied().unwrap_or_else(|| {
                if self.values.len() >= MOST {
                    self.values.clear();
                    self.places.clear();
                }
                self.values.push((source.clone(), make(source)));
                self.places.insert(address, self.values.len() - 1);
                self.values.len() - 1
            }),
        };
        self.last = Some((address, place));
        &self.values[place].1
    }
}

#[cfg(test)]
mod tests {
    use clearwater_kube::logs::LogOrigin;

    use super::*;

    fn source(pod: usize) -> Arc<LogSource> {
        Arc::new(LogSource {
            component: String::new(),
            namespace: String::new(),
            pod: pod.to_string(),
            node: String::new(),
            address: String::new(),
            container: String::new(),
            labels: std::collections::BTreeMap::default(),
            annotations: std::collections::BTreeMap::default(),
            origin: LogOrigin::Output,
        })
    }

    #[test]
    fn each_source_has_its_own_value_however_many_there_are() {
        let sources: Vec<_> = (0..MOST + 2).map(source).collect();
        let mut made = 0;
        let mut all = BySource::default();
        for turn in [0, 1, 0, 1, MOST + 1, 1] {
            let value = all.get(&sources[turn], |s| {
                made += 1;
                s.pod.clone()
            });
            assert_eq!(*value, turn.to_string());
        }
        assert_eq!(made, 3);
        for source in sources.iter().chain(&sources[..2]) {
            assert_eq!(*all.get(source, |s| s.pod.clone()), source.pod);
        }
        assert!(all.values.len() <= MOST);
    }
}
