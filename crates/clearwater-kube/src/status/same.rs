use super::{ComponentStatus, PodData, PodStatus, Status};

impl Status {
    /// Whether a later look tells nothing new: all is as it was but the time, the number of looks, the lines of logs,
    /// and bytes of room: a volume that fills by another per cent is told in the notes.
    ///
    /// ```
    /// use clearwater_kube::status::Status;
    ///
    /// let of = |at: &str, healthy: bool| -> Status {
    ///     let text = format!(r#"{{"v": 1, "namespace": "ims", "release": "hunter", "at": "{at}", "healthy": {healthy},
    ///         "partial": false, "components": [], "notes": []}}"#);
    ///     serde_json::from_str(&text).unwrap()
    /// };
    /// let seen = of("2026-11-23T10:00:00Z", true);
    /// assert!(seen.tells_the_same(&of("2026-11-23T10:00:02Z", true)));
    /// assert!(!seen.tells_the_same(&of("2026-11-23T10:00:02Z", false)));
    /// ```
    pub fn tells_the_same(&self, later: &Self) -> bool {
        let bare = |seen: &Self| {
            let bare = |pod: &PodStatus| {
                let data = pod.data.clone().map(|data| PodData { room: None, ..data });
                PodStatus { data, ..pod.clone() }
            };
            let components = seen
                .components
                .iter()
                .map(|c| ComponentStatus { log: None, pods: c.pods.iter().map(bare).collect(), ..c.clone() })
                .collect();
            Self { at: self.at, looks: self.looks, components, ..seen.clone() }
        };
        bare(self) == bare(later)
    }
}
