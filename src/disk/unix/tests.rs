use super::*;

#[test]
fn a_file_gets_its_name_by_itself_and_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let dir = Dir::open_absolute(directory.path()).unwrap();
    let Ok(file) = OsDisk.create_unnamed(&dir, NewFileAccess::Private) else {
        return eprintln!("SKIPPED: there are no files without names in {}", directory.path().display());
    };
    name_by_path(&file, &dir, "by path".as_ref()).unwrap();
    OsDisk.name(&file, &dir, "by itself".as_ref()).unwrap();
    for name in ["by path", "by itself"] {
        let taken = OsDisk.name(&file, &dir, name.as_ref()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    }
}
