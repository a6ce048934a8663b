//! `akvfs watch`: what it tells, through what, and when it ends.

use std::io::BufRead;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::Child;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::channel;
use std::thread;

use crate::caller::within;
use crate::mounted::Mounted;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

/// A watch that runs, and the lines that it writes.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    /// Watches, and returns once it is known what is so now.
    fn start(mounted: &Mounted<'_>, arguments: &[&str]) -> Self {
        let world = mounted.world();
        let mut command = world.command("akvfs");
        command.arg("watch").arg(mounted.directory()).args(arguments);
        let mut child = world.inside(|| command.stdout(Stdio::piped()).spawn().unwrap());
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        until("it is connected", || {
            let tcp = format!("/proc/{}/net/unix", child.id());
            let _ = &tcp;
            std::fs::read_dir(format!("/proc/{}/task", child.id()))
                .is_ok_and(|tasks| tasks.count() > 1)
        });
        Self { child, lines }
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("nothing is told: {error}"))
    }

    #[track_caller]
    fn ends(mut self) -> Option<i32> {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A watch knows what is so when it has had an answer of the worker; nothing tells when.
fn settle() {
    within(std::time::Duration::from_millis(500), || false);
}

#[test]
fn each_new_version_and_each_refusal_is_a_line_and_an_outage_is_none() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "0");
    world.vault().put("other", "0");
    let mounted = world.mount(&["refresh=200ms", "open-timeout=1s"]);
    let watch = Watch::start(&mounted, &["ftpadmin"]);
    until("it is asked for", || world.gets("ftpadmin") > 0);
    settle();

    let id = world.vault().put("ftpadmin", "1");
    assert_eq!(watch.line(), format!("ftpadmin new {id}"));
    assert_eq!(mounted.text("ftpadmin"), "1");
    world.vault().put("other", "1");
    world.cut_network();
    settle();
    world.mend_network();
    world.vault().disable("ftpadmin");
    assert_eq!(watch.line(), "ftpadmin disabled");
    assert_eq!(mounted.errno("ftpadmin"), libc::EKEYREVOKED);
    world.vault().enable("ftpadmin");
    assert_eq!(watch.line(), format!("ftpadmin new {id}"));
    world.vault().delete("ftpadmin");
    assert_eq!(watch.line(), "ftpadmin missing");
    let id = world.vault().put("ftpadmin", "2");
    assert_eq!(watch.line(), format!("ftpadmin new {id}"));
    drop(mounted);
    assert!(watch.lines.recv_timeout(LIMIT).is_err(), "there is nothing more to tell");
    assert_eq!(watch.ends(), Some(0));
}

/// A program that reads once does not keep its secret in use; whoever watches for it does.
#[test]
fn a_name_that_is_watched_is_in_use_though_nobody_opens_it() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "0");
    let mounted = world.mount(&["refresh=100ms"]);
    let watch = Watch::start(&mounted, &["ftpadmin"]);
    // More than the ten refreshes after which a name is idle.
    until("it was asked about for long", || world.gets("ftpadmin") >= 30);
    let id = world.vault().put("ftpadmin", "1");
    assert_eq!(watch.line(), format!("ftpadmin new {id}"));
}

#[test]
fn without_names_it_tells_of_all_that_are_in_use() {
    let Some(world) = World::new() else { return };
    for name in ["one", "two", "unused"] {
        world.vault().put(name, "0");
    }
    let mounted = world.mount(&["refresh=200ms"]);
    assert_eq!(mounted.text("one"), "0");
    let watch = Watch::start(&mounted, &[]);
    settle();
    world.vault().put("unused", "1");
    let id = world.vault().put("one", "1");
    assert_eq!(watch.line(), format!("one new {id}"));
    // It comes into use: that is no change.
    assert_eq!(mounted.text("two"), "0");
    settle();
    let id = world.vault().put("two", "1");
    assert_eq!(watch.line(), format!("two new {id}"));
    assert_eq!(world.gets("unused"), 0);
}

#[test]
fn it_outlives_the_worker_and_tells_what_changed_meanwhile() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "0");
    world.vault().put("other", "0");
    let mounted = world.mount(&["refresh=1s"]);
    let watch = Watch::start(&mounted, &["ftpadmin", "other"]);
    until("they are asked for", || world.gets("ftpadmin") > 0 && world.gets("other") > 0);
    settle();
    for number in 1..4 {
        let id = world.vault().put("ftpadmin", &number.to_string());
        world.replace("worker");
        assert_eq!(watch.line(), format!("ftpadmin new {id}"));
        assert_eq!(mounted.text("ftpadmin"), number.to_string());
    }
    assert!(watch.lines.try_recv().is_err(), "what did not change is not told");
}

#[test]
fn a_command_runs_for_each_change_one_at_a_time_and_what_changes_meanwhile_is_one() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "0");
    world.vault().put("other", "0");
    let mounted = world.mount(&["refresh=100ms"]);
    let scratch = world.directory();
    let (hold, said) = (scratch.join("hold"), scratch.join("said"));
    world.write(hold.to_str().unwrap(), "");
    let script = format!(
        "echo begins $AKVFS_SECRET $AKVFS_STATE $AKVFS_VERSION >> {said}; cat \"$0/$AKVFS_SECRET\" >> {said}; echo >> {said};
         while [ -e {hold} ]; do sleep 0.02; done; echo ends $AKVFS_SECRET >> {said}; [ $AKVFS_SECRET = ftpadmin ]",
        said = said.display(),
        hold = hold.display()
    );
    let at = mounted.directory().to_str().unwrap();
    let watch = Watch::start(&mounted, &["ftpadmin", "other", "--", "sh", "-c", &script, at]);
    until("they are asked for", || world.gets("ftpadmin") > 0 && world.gets("other") > 0);
    settle();
    let told = |path: &PathBuf| String::from_utf8(world.read(path).unwrap_or_default()).unwrap();

    let first = world.vault().put("ftpadmin", "1");
    until("it runs", || told(&said).lines().count() == 2);
    let mut last = String::new();
    for number in 2..6 {
        last = world.vault().put("ftpadmin", &number.to_string());
        mounted.until_shows("ftpadmin", &number.to_string());
    }
    let other = world.vault().put("other", "1");
    mounted.until_shows("other", "1");
    settle();
    world.sh(&format!("rm {}", hold.display())).ok();

    until("all have run", || told(&said).matches("ends").count() == 3);
    let expected = format!(
        "begins ftpadmin new {first}\n1\nends ftpadmin\nbegins ftpadmin new {last}\n5\nends ftpadmin\n\
         begins other new {other}\n1\nends other\n"
    );
    assert_eq!(told(&said), expected);
    drop(mounted);
    assert_eq!(watch.ends(), Some(0));
}

#[test]
fn a_command_that_cannot_be_run_is_an_error() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "0");
    let mounted = world.mount(&["refresh=100ms"]);
    let watch = Watch::start(&mounted, &["ftpadmin", "--", "/no/such/program"]);
    until("it is asked for", || world.gets("ftpadmin") > 0);
    settle();
    world.vault().put("ftpadmin", "1");
    assert_eq!(watch.ends(), Some(2));
}
