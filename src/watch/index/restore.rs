//! What a process before this one has saved of a root, and what has become of it.

use std::{
    collections::BTreeMap,
    mem,
    path::{Path, PathBuf},
};

use super::{Index, Look, SavedFiles, below};

impl Index {
    /// Takes in what was saved of a root: the files of its directories, and those that had gone. Where subscribers have been
    /// told by now what `is_in` it, that stays, and counts as changed at this moment where it is not what was saved.
    /// `closer` is as for [`Self::list`].
    pub fn restore(
        &mut self,
        root: &Path,
        directories: Vec<(PathBuf, SavedFiles)>,
        graves: Vec<(PathBuf, u64, u64)>,
        is_in: impl Fn(&Path) -> bool,
        closer: impl Fn(&Path) -> Option<Look>,
    ) {
        self.graves.forget_below(root, &is_in);
        for (path, born, died) in graves.into_iter().filter(|(path, ..)| is_in(path)) {
            self.graves.dig(path, born, died);
        }
        let told = below(&self.directories, root).filter(|(path, known)| known.complete && is_in(path));
        let mut saved: BTreeMap<_, _> = told.map(|(path, _)| (path.clone(), Vec::new())).collect();
        saved.extend(directories.into_iter().filter(|(path, _)| is_in(path)));
        saved.into_iter().for_each(|(path, files)| self.restore_directory(path, files, &closer));
    }

    fn restore_directory(&mut self, path: PathBuf, files: SavedFiles, closer: impl Fn(&Path) -> Option<Look>) {
        let is_told = self.nearest(&path).is_some_and(|known| known.complete);
        if is_told && !self.lists(&path) {
            return self.bury(&path, files);
        }
        let known = self.directories.entry(path.clone()).or_default();
        let since = known.saved.replace(self.tick).unwrap_or(0);
        let before = mem::replace(&mut known.files, files.into_iter().collect());
        if is_told {
            known.complete = false;
            let here = before.iter().map(|(name, entry)| (name.to_os_string(), entry.look)).collect();
            // Of what nobody was told yet nothing is taken in.
            let told = |file: &Path| before.get(file.file_name()?).map(|entry| entry.look);
            let as_told = |file: &Path, now: &Look| told(file).is_some_and(|told| told.is_same(now) == Some(true));
            self.list(&path, here, |file| closer(file).filter(|now| as_told(file, now)));
        } else {
            known.files.extend(before.into_iter().filter(|(_, entry)| entry.changed > since));
        }
    }

    /// The directories below a root that were saved and have not been found.
    pub fn unlisted(&self, root: &Path) -> Vec<PathBuf> {
        let all = below(&self.directories, root).filter(|(_, known)| !known.complete && known.saved.is_some());
        all.map(|(path, _)| path.clone()).collect()
    }

    /// Removes what was saved in a directory, but not what lies in those below it.
    pub fn remove_unlisted(&mut self, directory: &Path) {
        if let Some(known) = self.directories.remove(directory) {
            self.bury(directory, known.files);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{
        super::{
            Entry,
            tests::{list, look},
        },
        *,
    };

    #[test]
    fn what_was_saved_is_compared_with_what_is_there() {
        let mut index = Index { tick: 10, ..Index::default() };
        let name = |name: &str| OsString::from(name).into_boxed_os_str();
        let entry = |number, settled| Entry { look: Look { settled, content: 7, ..look(number) }, born: 1, changed: 2 };
        let saved = [
            ("same", entry(1, true)),
            ("other", entry(2, true)),
            ("gone", entry(3, true)),
            ("unsure same", entry(4, false)),
            ("unsure other", entry(5, false)),
        ];
        let saved = saved.map(|(file, entry)| (name(file), entry)).into();
        let directories = vec![("/r".into(), saved), ("/r/dir".into(), vec![(name("x"), entry(6, true))])];
        index.restore(Path::new("/r"), directories, Vec::new(), |_| true, |_| None);
        let here = [("same", 1), ("other", 20), ("unsure same", 4), ("unsure other", 5), ("new", 8)];
        let here = here.map(|(name, number)| (name.into(), Look { settled: true, ..look(number) }));
        index.list(Path::new("/r"), here.into(), |path| {
            let (number, content) = if path.ends_with("unsure same") { (4, 7) } else { (5, 8) };
            Some(Look { content, ..look(number) })
        });
        assert_eq!(index.unlisted(Path::new("/r")), [Path::new("/r/dir")]);
        index.remove_unlisted(Path::new("/r/dir"));
        let changed = |name: &str| index.entry(&Path::new("/r").join(name)).unwrap().changed > 10;
        assert!(!changed("same") && !changed("unsure same"));
        assert!(changed("other") && changed("unsure other") && changed("new"));
        assert_eq!(index.graves.died_since(10).count(), 2);
    }

    #[test]
    fn what_was_told_by_now_is_compared_with_what_was_saved_and_stays() {
        let mut index = Index::default();
        list(&mut index, "/r", &["same", "other", "new", "unsure", "written since"]);
        list(&mut index, "/r/inner", &["x"]);
        index.announce(Path::new("/r/later"));
        for file in ["unsure", "written since"] {
            index.insert(&Path::new("/r").join(file), Look { settled: true, ..look(1) }, false);
        }
        index.graves.dig("/r/told".into(), 0, 1);
        index.tick = 100;
        let name = |name: &str| OsString::from(name).into_boxed_os_str();
        let entry = |number| Entry { look: Look { settled: true, ..look(number) }, born: 7, changed: 50 };
        let unsure = Entry { look: Look { content: 5, ..look(1) }, ..entry(1) };
        let saved = ["same", "other", "gone"].map(|file| (name(file), entry(if file == "other" { 2 } else { 1 })));
        let saved = saved.into_iter().chain(["unsure", "written since"].map(|file| (name(file), unsure)));
        let directories = vec![
            ("/r".into(), saved.collect()),
            ("/r/never".into(), vec![(name("y"), entry(1))]),
            ("/r/inner".into(), vec![(name("z"), entry(1))]),
            ("/r/later".into(), vec![(name("v"), entry(1))]),
        ];
        let is_in = |path: &Path| !path.starts_with("/r/inner");
        let closer = |path: &Path| Some(Look { content: 5, ..look(if path.ends_with("unsure") { 1 } else { 2 }) });
        index.restore(Path::new("/r"), directories, vec![("/r/w".into(), 1, 40)], is_in, closer);

        let entry =
            |name: &str| index.entry(&Path::new("/r").join(name)).map(|entry| (entry.born, entry.changed > 100));
        assert_eq!((entry("same"), entry("unsure")), (Some((7, false)), Some((7, false))));
        assert_eq!(entry("written since"), Some((7, true)));
        assert_eq!(index.look(Path::new("/r/written since")).unwrap().size, 1, "as it was told");
        assert_eq!(entry("other"), Some((7, true)));
        assert!(entry("new").is_some_and(|(born, is_changed)| born > 100 && is_changed));
        assert_eq!(entry("inner/x"), Some((0, false)), "of another root");
        assert_eq!(index.knows(Path::new("/r/gone")), Some(false));
        assert!(!index.lists(Path::new("/r/never")) && index.awaits_listing(Path::new("/r/later")));
        let graves = |tick| index.graves.died_since(tick).map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            (graves(0), graves(100)),
            (
                ["/r/gone", "/r/never/y", "/r/w"].map(String::from).into(),
                ["/r/gone", "/r/never/y"].map(String::from).into()
            )
        );
    }
}
