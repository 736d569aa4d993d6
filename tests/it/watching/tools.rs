//! What programs do that people use, seen by a client that knows nothing but the notifications.

use std::{fs, path::Path, process::Command};

use serde_json::json;

use super::Watched;

#[test]
fn git_clones_and_switches_between_branches() {
    let mut watched = Watched::new(json!({}), |_| {});
    let origin = watched.home.path().join("origin");
    fs::create_dir(&origin).unwrap();
    let git = |directory: &Path, arguments: &[&str]| {
        let identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"];
        run(Command::new("git").arg("-C").arg(directory).args(identity).args(arguments))
    };
    git(&origin, &["init", "--quiet", "--initial-branch=one"]);
    for number in 0..400 {
        let directory = origin.join(format!("d{}/e{}", number % 7, number % 3));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("f{number}")), format!("one {number}")).unwrap();
    }
    std::os::unix::fs::symlink("d0", origin.join("link")).unwrap();
    git(&origin, &["add", "."]);
    git(&origin, &["commit", "--quiet", "-m", "one"]);
    git(&origin, &["checkout", "--quiet", "-b", "two"]);
    fs::remove_dir_all(origin.join("d1")).unwrap();
    fs::rename(origin.join("d2"), origin.join("moved")).unwrap();
    for number in (0..400).step_by(7) {
        fs::write(origin.join(format!("d0/e{}/f{number}", number % 3)), "two").unwrap();
    }
    git(&origin, &["add", "--all"]);
    git(&origin, &["commit", "--quiet", "-m", "two"]);

    let clone = watched.root.join("clone");
    git(&watched.root, &["clone", "--quiet", origin.to_str().unwrap(), "clone"]);
    watched.assert_true();
    assert!(!watched.told.iter().any(|line| line.contains(".git/")));
    for branch in ["one", "two", "one"] {
        git(&clone, &["checkout", "--quiet", branch]);
        watched.assert_true();
    }
    git(&clone, &["stash", "--quiet", "--include-untracked"]);
    git(&clone, &["rm", "--quiet", "-r", "d0"]);
    git(&clone, &["reset", "--quiet", "--hard"]);
    watched.assert_true();
}

#[test]
fn cargo_builds_without_a_word_of_what_is_ignored() {
    let mut watched = Watched::new(json!({}), |root| {
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(root.join("src/main.rs"), "fn main() {}\n").unwrap();
        let manifest = "[package]\nname = \"tiny\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n";
        fs::write(root.join("Cargo.toml"), manifest).unwrap();
        fs::write(root.join(".gitignore"), "/target\n").unwrap();
    });
    let root = watched.root.clone();
    run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline"])
        .current_dir(root)
        .env_remove("CARGO_TARGET_DIR"));
    watched.assert_true();
    assert_eq!(watched.told, ["created Cargo.lock"]);
}

#[test]
fn archives_are_unpacked_and_trees_are_copied() {
    let mut watched = Watched::new(json!({}), |_| {});
    let source = watched.home.path().join("source");
    for number in 0..300 {
        let directory = source.join(format!("a{}/b{}", number % 11, number % 4));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("f{number}")), format!("{number}")).unwrap();
    }
    let (archive, root) = (watched.home.path().join("all.tar"), watched.root.clone());
    run(Command::new("tar").arg("-C").arg(&source).arg("-cf").arg(&archive).arg("."));
    run(Command::new("tar").arg("-C").arg(&root).arg("-xf").arg(&archive));
    watched.assert_true();
    // Old times and other contents, as a copy that keeps times makes them.
    fs::write(source.join("a0/b0/f0"), "new").unwrap();
    fs::remove_file(source.join("a1/b1/f1")).unwrap();
    match Command::new("rsync").args(["-a", "--delete"]).arg(format!("{}/", source.display())).arg(&root).status() {
        Ok(status) => assert!(status.success()),
        Err(_) => {
            println!("SKIPPED rsync: it is not installed");
            run(Command::new("cp").arg("-a").arg(source.join(".")).arg(&root));
        }
    }
    watched.assert_true();
}

#[test]
fn what_sed_and_editors_save_is_one_modification() {
    let mut watched = Watched::new(json!({}), |root| fs::write(root.join("a.txt"), "one two\n").unwrap());
    let file = watched.root.join("a.txt");
    run(Command::new("sed").args(["-i", "s/two/three/"]).arg(&file));
    watched.assert_true();
    assert_eq!(watched.told_of("a.txt"), ["modified"]);
    for editor in ["vim", "nvim"] {
        let available = Command::new(editor).arg("--version").output().is_ok();
        if !available {
            println!("SKIPPED {editor}: it is not installed");
            continue;
        }
        for settings in [
            "nobackup nowritebackup",
            "nobackup writebackup backupcopy=no",
            "backup backupcopy=no",
            "backup backupcopy=yes",
        ] {
            watched.told.clear();
            let run = |edit: &str| {
                let mut command = Command::new(editor);
                command.args(["-es", "-u", "NONE", "-i", "NONE", "-n", "--cmd", &format!("set {settings}")]);
                run(command.args(["-c", edit, "-c", "wq"]).arg(&file).current_dir(watched.root.clone()));
            };
            run("normal Ahello");
            watched.assert_true();
            assert_eq!(watched.told_of("a.txt"), ["modified"], "{editor} with {settings}: {:?}", watched.told);
            for line in &watched.told {
                assert!(line.ends_with("a.txt") || line.ends_with("a.txt~"), "{editor} with {settings}: {line}");
            }
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
