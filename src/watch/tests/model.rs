//! Whatever happens, told in whatever portions and however late: the reports add up to what is on disk.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
};

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

use super::{
    Picture, describe,
    world::{Operation, World},
};
use crate::watch::debounce::Change;

/// One thing that goes on: something happens on disk, events come in, or time passes.
#[derive(Debug, Clone)]
enum Step {
    Happen(Operation),
    /// So many of the events that have not come in yet.
    Deliver(usize),
    Wait(u64),
}

#[test]
fn reports_add_up_to_the_disk() {
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() };
    // The same cases every time.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner.run(&prop::collection::vec(step(), 0..60), play).unwrap_or_else(|error| panic!("{error}"));
}

/// What happens to events on their way.
#[derive(Debug, Clone)]
enum Trouble {
    None(Step),
    /// The next so many are lost, and nobody says so.
    Drop(usize),
    /// The next one comes twice.
    Duplicate,
    /// The next one comes as late as all that are on their way.
    Delay,
    /// All that are on their way are lost, and the system says so.
    Overflow,
}

#[test]
fn whatever_becomes_of_the_events_the_reports_add_up_to_the_disk_after_a_look_at_everything() {
    let config = ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let troubles = prop::collection::vec(trouble(), 0..60);
    runner.run(&troubles, play_troubled).unwrap_or_else(|error| panic!("{error}"));
}

fn play_troubled(troubles: Vec<Trouble>) -> Result<(), TestCaseError> {
    let mut world = World::new();
    world.index.list(Path::new("/r"), Vec::new(), |_| None);
    let mut client = Client { picture: Picture { files: BTreeMap::new() }, log: Vec::new() };
    let mut on_the_way: VecDeque<Change> = VecDeque::new();
    let mut now = 0;
    for (number, trouble) in troubles.into_iter().enumerate() {
        match trouble {
            Trouble::None(Step::Happen(operation)) => on_the_way.extend(world.disk.operate(operation, number)),
            Trouble::None(Step::Deliver(count)) => {
                for change in on_the_way.drain(..count.min(on_the_way.len())) {
                    world.deliver(change, now);
                }
            }
            Trouble::None(Step::Wait(millis)) => now += millis,
            Trouble::Drop(count) => drop(on_the_way.drain(..count.min(on_the_way.len()))),
            Trouble::Duplicate => on_the_way.extend(on_the_way.front().cloned()),
            Trouble::Delay => on_the_way.rotate_left(on_the_way.len().min(1)),
            Trouble::Overflow => {
                on_the_way.clear();
                world.compare(now);
            }
        }
        client.hear(&mut world, now)?;
    }
    on_the_way.into_iter().for_each(|change| world.deliver(change, now));
    // A barrier where the system does not say that it has told all, and every poll.
    for _ in 0..2 {
        while let Some(deadline) = world.next_deadline() {
            client.hear(&mut world, deadline)?;
        }
        world.compare(now);
    }
    prop_assert_eq!(world.next_deadline(), None, "a second look finds nothing more");
    prop_assert_eq!(client.picture.files, world.disk.0, "after {:#?}", client.log);
    Ok(())
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        12 => step().prop_map(Trouble::None),
        1 => (1..4_usize).prop_map(Trouble::Drop),
        1 => Just(Trouble::Duplicate),
        1 => Just(Trouble::Delay),
        1 => Just(Trouble::Overflow),
    ]
}

fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new();
    world.index.list(Path::new("/r"), Vec::new(), |_| None);
    let mut client = Client { picture: Picture { files: BTreeMap::new() }, log: Vec::new() };
    let mut on_the_way = VecDeque::new();
    let mut now = 0;
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Happen(operation) => on_the_way.extend(world.disk.operate(operation, number)),
            Step::Deliver(count) => {
                for change in on_the_way.drain(..count.min(on_the_way.len())) {
                    world.deliver(change, now);
                }
            }
            Step::Wait(millis) => now += millis,
        }
        client.hear(&mut world, now)?;
    }
    on_the_way.into_iter().for_each(|change| world.deliver(change, now));
    while let Some(deadline) = world.next_deadline() {
        client.hear(&mut world, deadline)?;
    }
    prop_assert_eq!(client.picture.files, world.disk.0, "after {:#?}", client.log);
    Ok(())
}

struct Client {
    picture: Picture<usize>,
    log: Vec<String>,
}

impl Client {
    /// Reads each file that it is told of, as it is at that moment.
    fn hear(&mut self, world: &mut World, now: u64) -> Result<(), TestCaseError> {
        for change in world.report(now) {
            self.log.push(format!("{now} {}", describe(&change, Path::new("/r"))));
            let there = world.disk.0.get(&change.path);
            let applied = self.picture.apply(&change, || there.copied().unwrap_or(usize::MAX));
            prop_assert!(applied.is_ok(), "{applied:?} after {:#?}", self.log);
            let is_gone = change.kind == crate::events::FileEventKind::Deleted;
            prop_assert!(change.directory || is_gone == there.is_none(), "not true: {:#?}", self.log);
        }
        Ok(())
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => operation().prop_map(Step::Happen),
        2 => (1..6_usize).prop_map(Step::Deliver),
        1 => prop_oneof![0..10_u64, 40..60_u64].prop_map(Step::Wait),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => path().prop_map(Operation::Create),
        3 => path().prop_map(Operation::Write),
        2 => path().prop_map(Operation::Remove),
        1 => path().prop_map(Operation::RemoveAll),
        6 => (path(), path()).prop_map(|(from, to)| Operation::Rename(from, to)),
        2 => (path(), path()).prop_map(|(a, b)| Operation::Exchange(a, b)),
        1 => path().prop_map(Operation::Arrive),
        1 => path().prop_map(Operation::Leave),
    ]
}

/// One of few, so that they meet.
fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..=3)
        .prop_map(|names| names.iter().fold(PathBuf::from("/r"), |path, name| path.join(name)))
}
