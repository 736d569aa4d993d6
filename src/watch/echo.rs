//! Recognises own writes, deletions and renames by what they leave behind.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::probe::Found;
use crate::hash::ContentHash;

/// What was written by us and may still come back as an event; owns no clock.
///
/// An entry that has gone (too old, or one too many) makes an echo look like a change from outside. It never does the
/// opposite: what hides a change is only that the path holds what was written, or nothing where nothing was to be.
#[derive(Debug)]
pub(super) struct Echo {
    /// How long an entry is kept after its last use.
    keep: Duration,
    files: HashMap<PathBuf, Own>,
    /// One for each of `files`, by last use.
    by_use: BTreeMap<u64, (Instant, PathBuf)>,
    next_number: u64,
}

#[derive(Debug)]
struct Own {
    last_use: u64,
    /// In the order in which they were announced, which is the order in which they land.
    writes: Vec<Write>,
}

#[derive(Debug)]
struct Write {
    number: u64,
    /// What a look at the path finds after it.
    leaves: Found,
    /// It is on disk, or has been there.
    landed: bool,
    /// Something else was found before it was known to have landed, which may have been there before it or replaced it.
    doubted: bool,
    /// [`Echo::news`] has told of it.
    heard: bool,
}

/// What had landed at a moment before the disk was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Landed(Option<u64>);

const MOST_FILES: usize = 65_536;

impl Echo {
    pub fn new(keep: Duration) -> Self {
        Self { keep, files: HashMap::new(), by_use: BTreeMap::new(), next_number: 0 }
    }

    /// Announces a write, or with `None` that there will be nothing; `true` if nothing was expected before.
    ///
    /// One path is written by one at a time: what was announced for it before has landed or was withdrawn.
    pub fn expect(&mut self, path: &Path, content: Option<ContentHash>, now: Instant) -> bool {
        let was_empty = self.files.is_empty();
        if self.files.len() >= MOST_FILES && !self.files.contains_key(path) {
            if let Some((_, (_, oldest))) = self.by_use.pop_first() {
                self.files.remove(&oldest);
            }
        }
        let number = self.number();
        let own = self.files.entry(path.to_path_buf()).or_insert(Own { last_use: number, writes: Vec::new() });
        own.writes.push(Write { number, leaves: leaves(content), landed: false, doubted: false, heard: false });
        self.used(path, now);
        was_empty
    }

    /// The latest write of this content to this file did not happen, or was taken back.
    pub fn withdraw(&mut self, path: &Path, content: Option<ContentHash>) {
        let Some(own) = self.files.get_mut(path) else { return };
        if let Some(position) = own.writes.iter().rposition(|write| write.leaves == leaves(content)) {
            own.writes.remove(position);
        }
        self.drop_if_empty(path);
    }

    /// What was announced is on disk now.
    pub fn landed(&mut self, path: &Path, content: Option<ContentHash>) {
        let writes = self.files.get_mut(path).map(|own| &mut own.writes);
        let landed = writes.into_iter().flatten().find(|write| !write.landed && write.leaves == leaves(content));
        landed.into_iter().for_each(|write| write.landed = true);
    }

    /// Whether a file is there by the latest write that has landed; told once for each write.
    pub fn news(&mut self, path: &Path) -> Option<bool> {
        let latest = self.files.get_mut(path)?.writes.iter_mut().rfind(|write| write.landed)?;
        (!mem::replace(&mut latest.heard, true)).then_some(latest.leaves != Found::NoFile)
    }

    /// Whether any write of this path was announced lately.
    pub fn has_announced(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// To be asked before the disk is looked at.
    pub fn latest(&self, path: &Path) -> Landed {
        let own = self.files.get(path);
        Landed(own.and_then(|own| own.writes.iter().rfind(|write| write.landed)).map(|write| write.number))
    }

    /// Whether what was found at the path is what we left there last; a file without a known hash never is.
    ///
    /// Something else that is found after a write has landed has replaced it: then finding that write's content again
    /// means that somebody else has written it.
    pub fn is_own(&mut self, path: &Path, found: Found, before: Landed, now: Instant) -> bool {
        let Some(own) = self.files.get_mut(path) else { return false };
        if let Some(landed) = before.0 {
            own.writes.retain(|write| write.number >= landed);
        }
        let position = own.writes.iter().position(|write| found == write.leaves);
        match position {
            Some(position) if !own.writes[position].doubted => {
                own.writes.drain(..position);
                (own.writes[0].landed, own.writes[0].heard) = (true, true);
                self.used(path, now);
                true
            }
            _ => {
                own.writes.retain(|write| before.0.is_none_or(|landed| write.number > landed));
                own.writes.iter_mut().for_each(|write| write.doubted = true);
                self.drop_if_empty(path);
                false
            }
        }
    }

    /// Forgets what was not used for long.
    pub fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.by_use.first_entry().filter(|oldest| oldest.get().0 + self.keep <= now) {
            let (_, path) = oldest.remove();
            self.files.remove(&path);
        }
        if self.files.is_empty() {
            self.files.shrink_to_fit();
        }
    }

    pub fn next_expiry(&self) -> Option<Instant> {
        self.by_use.values().next().map(|(used, _)| *used + self.keep)
    }

    fn used(&mut self, path: &Path, now: Instant) {
        let number = self.number();
        if let Some(own) = self.files.get_mut(path) {
            self.by_use.remove(&own.last_use);
            own.last_use = number;
            self.by_use.insert(number, (now, path.to_path_buf()));
        }
    }

    fn drop_if_empty(&mut self, path: &Path) {
        if let Some(own) = self.files.get(path).filter(|own| own.writes.is_empty()) {
            self.by_use.remove(&own.last_use);
            self.files.remove(path);
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

fn leaves(content: Option<ContentHash>) -> Found {
    content.map_or(Found::NoFile, |hash| Found::File(Some(hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_write_is_recognised_however_late_and_often_its_events_come() {
        let mut echo = expecting(&["A"]);
        for seconds in [0, 30, 89, 140] {
            assert!(sees(&mut echo, "A", seconds), "after {seconds} s");
        }
    }

    #[test]
    fn two_own_writes_whose_events_come_late_are_both_recognised() {
        let mut echo = expecting(&["A", "B"]);
        assert!(sees(&mut echo, "A", 0), "B has not landed yet");
        assert!(sees(&mut echo, "B", 0));
        assert!(!sees(&mut echo, "A", 0), "somebody else has put A back");
    }

    #[test]
    fn going_back_and_forth_between_own_contents_is_recognised() {
        let mut echo = having_written(&["A", "B", "A"]);
        assert!(sees(&mut echo, "A", 0));
        assert!(!sees(&mut echo, "B", 0));
    }

    #[test]
    fn another_content_is_from_outside_and_so_is_the_own_one_once_it_was_replaced() {
        let mut echo = having_written(&["A"]);
        assert!(!sees(&mut echo, "X", 0));
        assert!(!sees(&mut echo, "A", 0));
        assert!(echo.files.is_empty() && echo.by_use.is_empty());
    }

    #[test]
    fn a_write_that_something_else_was_found_beside_is_not_relied_on_but_heard_of() {
        for lands in ["before the look", "during the look", "after the look"] {
            let mut echo = expecting(&["A"]);
            let landed = |echo: &mut Echo, when| {
                if lands == when {
                    echo.landed(path(), hash("A"));
                }
            };
            landed(&mut echo, "before the look");
            let before = echo.latest(path());
            landed(&mut echo, "during the look");
            assert!(!echo.is_own(path(), leaves(hash("X")), before, start()));
            landed(&mut echo, "after the look");
            let news = (lands != "before the look").then_some(true);
            assert_eq!(echo.news(path()), news, "{lands}");
            assert!(!sees(&mut echo, "A", 0), "{lands}: somebody else may have put it back");
            assert!(echo.files.is_empty() && echo.by_use.is_empty(), "{lands}");
        }
    }

    #[test]
    fn a_file_without_hash_is_never_own_and_a_missing_one_only_where_it_was_announced() {
        let mut echo = expecting(&["A"]);
        assert!(!sees_found(&mut echo, Found::File(None)));
        assert!(!sees(&mut echo, GONE, 0));
        assert!(!sees_found(&mut expecting(&[GONE]), Found::File(None)));
        assert!(sees(&mut expecting(&[GONE]), GONE, 0));
    }

    #[test]
    fn writing_and_deleting_the_same_again_and_again_is_recognised_without_any_events() {
        let mut echo = having_written(&["A", GONE, "A", GONE]);
        assert!(sees(&mut echo, GONE, 0));
        assert!(!sees(&mut echo, "A", 0), "somebody else has made it");
        assert!(!sees(&mut echo, GONE, 0), "and deleted it");
    }

    #[test]
    fn what_has_landed_is_told_once() {
        let mut echo = expecting(&["A"]);
        assert_eq!(echo.news(path()), None);
        echo.landed(path(), hash("A"));
        assert_eq!((echo.news(path()), echo.news(path())), (Some(true), None));
        echo.expect(path(), hash(GONE), start());
        assert_eq!(echo.news(path()), None);
        echo.landed(path(), hash(GONE));
        assert_eq!(echo.news(path()), Some(false));
    }

    #[test]
    fn a_withdrawn_write_hides_nothing() {
        let mut echo = expecting(&["A", "B"]);
        echo.withdraw(path(), hash("B"));
        assert!(sees(&mut echo, "A", 0));
        assert!(!sees(&mut echo, "B", 0));

        let mut echo = expecting(&["A"]);
        echo.withdraw(path(), hash("A"));
        assert!(echo.files.is_empty() && echo.by_use.is_empty());
    }

    #[test]
    fn what_was_taken_back_after_it_was_seen_is_from_outside_when_it_comes_again() {
        for content in ["A", GONE] {
            let mut echo = expecting(&[content]);
            assert!(sees(&mut echo, content, 0));
            echo.withdraw(path(), hash(content));
            assert!(!sees(&mut echo, content, 0));
        }
    }

    #[test]
    fn the_table_shrinks_to_nothing_when_idle_and_what_was_forgotten_is_reported() {
        let mut echo = expecting(&["A"]);
        let expiry = echo.next_expiry().unwrap();
        echo.expire(expiry - Duration::from_millis(1));
        assert!(sees(&mut echo, "A", 0));
        echo.expire(expiry + Duration::from_secs(3600));
        assert!(!sees(&mut echo, "A", 0));
        assert!(echo.files.is_empty() && echo.by_use.is_empty() && echo.next_expiry().is_none());
    }

    #[test]
    fn the_table_never_grows_above_its_bound_and_loses_the_oldest_first() {
        let mut echo = Echo::new(Duration::from_secs(60));
        for number in 0..MOST_FILES + 10 {
            echo.expect(Path::new(&format!("/r/{number}")), hash("A"), start());
        }
        assert_eq!((echo.files.len(), echo.by_use.len()), (MOST_FILES, MOST_FILES));
        assert!(!echo.files.contains_key(Path::new("/r/9")) && echo.files.contains_key(Path::new("/r/10")));
    }

    fn expecting(contents: &[&str]) -> Echo {
        let mut echo = Echo::new(Duration::from_secs(60));
        for content in contents {
            echo.expect(path(), hash(content), start());
        }
        echo
    }

    fn having_written(contents: &[&str]) -> Echo {
        let mut echo = expecting(contents);
        contents.iter().for_each(|content| echo.landed(path(), hash(content)));
        echo
    }

    fn sees(echo: &mut Echo, content: &str, after_seconds: u64) -> bool {
        let now = start() + Duration::from_secs(after_seconds);
        echo.expire(now);
        let before = echo.latest(path());
        echo.is_own(path(), leaves(hash(content)), before, now)
    }

    fn sees_found(echo: &mut Echo, found: Found) -> bool {
        let before = echo.latest(path());
        echo.is_own(path(), found, before, start())
    }

    fn path() -> &'static Path {
        Path::new("/r/a")
    }

    /// Stands for a file that is not there.
    const GONE: &str = "-";

    fn hash(content: &str) -> Option<ContentHash> {
        (content != GONE).then(|| ContentHash::of(content.as_bytes()))
    }

    fn start() -> Instant {
        use std::sync::LazyLock;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        *START
    }
}
