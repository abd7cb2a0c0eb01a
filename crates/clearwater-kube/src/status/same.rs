use super::{ComponentStatus, Status};

impl Status {
    /// Whether a later look tells nothing new: all is as it was but the time, the number of looks and the lines of logs.
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
            let components = seen.components.iter().map(|c| ComponentStatus { log: None, ..c.clone() }).collect();
            Self { at: self.at, looks: self.looks, components, ..seen.clone() }
        };
        bare(self) == bare(later)
    }
}
