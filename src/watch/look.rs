//! How a file looked, and whether it is the same when it looks otherwise.

use super::probe;

/// How a file looked; nothing but zeros where it was only heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Look {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// In nanoseconds since the epoch.
    pub modified: i64,
    pub status_changed: i64,
    /// The beginning of its content's hash; 0 where it is not known.
    pub content: u64,
    /// It had been at rest for so long that a later change must show in its times.
    pub settled: bool,
    /// A symbolic link, which is a file of its own.
    pub is_link: bool,
    /// When it was seen like this for the first time, in nanoseconds since the epoch.
    pub seen: i64,
}

impl Look {
    /// Whether the file that looked so has the same content if it looks like `now`; `None` if only its content can tell.
    pub fn is_same(&self, now: &Self) -> Option<bool> {
        if *self == Self::default() {
            return Some(*now == Self::default());
        }
        if self.content != 0 && now.content != 0 {
            let content = |look: &Self| (look.content, look.size, look.is_link);
            return Some(content(self) == content(now));
        }
        match self.shows_the_same(now) {
            true if self.settled => Some(true),
            true => None,
            false => Some(false),
        }
    }

    /// This look, with what is known from the one before it: whoever looks twice sees that a file is at rest also where its
    /// times are of another clock.
    pub fn after(self, before: &Self) -> Self {
        if !self.shows_the_same(before) {
            return self;
        }
        let is_at_rest = self.seen.saturating_sub(before.seen) > probe::COARSE_TICK;
        let content = if self.content == 0 && before.settled { before.content } else { self.content };
        Self { content, settled: self.settled || before.settled || is_at_rest, seen: before.seen, ..self }
    }

    fn shows_the_same(&self, other: &Self) -> bool {
        let fields =
            |look: &Self| (look.is_link, look.device, look.inode, look.size, look.modified, look.status_changed);
        fields(self) == fields(other)
    }

    /// Whether it may be the same file under another name, which a rename does not show otherwise.
    pub fn may_be_renamed(&self, now: &Self) -> bool {
        let fields = |look: &Self| (look.device, look.inode, look.size, look.modified);
        self.inode != 0 && fields(self) == fields(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::index::tests::look;

    #[test]
    fn only_a_file_at_rest_is_the_same_without_a_look_at_its_content() {
        let rest = Look { settled: true, ..look(1) };
        let hashed = |content| Look { content, ..look(1) };
        for (before, now, same) in [
            (rest, look(1), Some(true)),
            (look(1), rest, None),
            (rest, look(2), Some(false)),
            (rest, Look { inode: 9, ..rest }, Some(false)),
            (rest, Look { status_changed: 9, ..rest }, Some(false)),
            (Look::default(), look(1), Some(false)),
            (Look::default(), Look::default(), Some(true)),
            (hashed(5), Look { inode: 9, modified: 9, ..hashed(5) }, Some(true)),
            (hashed(5), Look { size: 9, ..hashed(5) }, Some(false)),
            (Look { settled: true, ..hashed(5) }, hashed(6), Some(false)),
            (hashed(5), Look { is_link: true, ..hashed(5) }, Some(false)),
        ] {
            assert_eq!(before.is_same(&now), same, "{before:?} {now:?}");
        }
    }

    #[test]
    fn a_file_that_looks_the_same_for_long_is_at_rest_whatever_its_times_say() {
        let seen = |seen, number| Look { seen, ..look(number) };
        assert!(!seen(probe::COARSE_TICK, 1).after(&seen(0, 1)).settled);
        assert_eq!(seen(probe::COARSE_TICK, 1).after(&seen(0, 1)).seen, 0);
        assert!(seen(probe::COARSE_TICK + 1, 1).after(&seen(0, 1)).settled);
        assert!(!seen(probe::COARSE_TICK + 1, 2).after(&seen(0, 1)).settled);
    }
}
