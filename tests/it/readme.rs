//! The documents say what is so: each line that is to be typed is understood, tables are the
//! code's, links lead somewhere, and each test that is named exists.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use akvfs::cli::access::Access;
use akvfs::cli::arguments;
use akvfs::cli::arguments::Order;
use akvfs::cli::complaint::Exit;
use akvfs::cli::config;
use akvfs::cli::option;
use akvfs::cli::option::Opt;
use akvfs::cli::options::OPTIONS;
use akvfs::cli::reach;
use akvfs::fuse::errno::errno;
use akvfs::identity::surroundings::Surroundings;
use akvfs::model::failure::Denial;
use akvfs::model::failure::Failure;
use akvfs::model::failure::Refusal;
use akvfs::model::failure::Why;
use akvfs::model::name::SecretName;

use crate::architecture::ROOMS;
use crate::program::build;
use crate::world::World;

#[test]
fn every_line_that_is_to_be_typed_is_understood() {
    let mut understood = 0;
    for (path, text) in documents() {
        for line in typed(&text) {
            let known = understand(&line);
            assert!(known.is_ok(), "{}: {line}\n{}", path.display(), known.unwrap_err());
            understood += usize::from(known == Ok(true));
        }
    }
    assert!(understood >= 12, "only {understood} lines of ours were found");
}

#[test]
fn what_is_planted_in_a_document_is_found() {
    for line in [
        "akvfs mount my-vault /mnt/vault --nope",
        "akvfs mount my-vault /mnt/vault -o refesh=5s",
        "sudo akvfs mount my-vault /mnt/vault -o mode=0640",
        "cat x | akvfs get my_vault ftpadmin",
        "make nothing",
        "cargo run --example nothing",
        "my-vault /mnt/vault akvfs _netdev,mod=0440 0 0",
    ] {
        assert!(understand(line).is_err(), "{line}");
    }
    for line in ["cat /mnt/vault/ftpadmin", "my-vault /mnt/vault ext4 defaults 0 0"] {
        assert_eq!(understand(line), Ok(false), "{line}");
    }
    assert_eq!(
        typed("`akvfs get V S` or\n```sh\nfoo \\\n  bar\n```\n"),
        ["akvfs get V S", "foo bar"]
    );
}

/// What the first screen and the chapters on mounting say, typed in a world where there is such a
/// vault and such a directory.
#[test]
fn the_readmes_commands_do_what_it_says() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let program = env!("CARGO_BIN_EXE_akvfs");
    world.sh(&format!("mkdir /run/bin && ln -s {program} /run/bin/akvfs")).ok();
    world.sh("mount -t tmpfs tmpfs /mnt && mkdir /mnt/vault").ok();
    let readme = fs::read_to_string("README.md").unwrap();
    let blocks = blocks(&readme).filter(|(kind, body)| *kind == "sh" && body.contains("akvfs "));
    // It ends with the mount.
    let blocks = blocks.filter(|(_, body)| !body.contains("akvfs watch"));
    let mut said = vec![];
    for (_, block) in blocks {
        assert!(block.starts_with("akvfs "), "{block}");
        said.push(world.sh(&format!("set -e; PATH=/run/bin:$PATH\n{block}")).ok());
    }
    assert_eq!(said[0], "s3cret");
    assert!(said[1].starts_with("s3crets3cretftpadmin\n["), "{}", said[1]);
    assert!(said[2].starts_with("/mnt/vault: my-vault, serving since "), "{}", said[2]);
    assert!(said[2].contains("\nftpadmin: new version "), "{}", said[2]);
    assert_eq!(said.len(), 3);
    assert!(world.mounts().is_empty());
}

/// The emulator says how it is used: line by line, in an environment of its own.
#[test]
fn what_the_emulator_says_to_type_works() {
    let Some(world) = World::new() else { return };
    let emulator = build(&["--bin", "akvfs-emulator"], "akvfs-emulator");
    let (emulator, akvfs) = (emulator.display(), env!("CARGO_BIN_EXE_akvfs"));
    let cat = world.sh(&format!(
        "set -e
        mkdir /run/bin /run/typed; ln -s {akvfs} /run/bin/akvfs; PATH=/run/bin:$PATH
        mount -t tmpfs tmpfs /mnt; mkdir /mnt/vault; cd /run/typed
        {emulator} > said 2>&1 & trap \"kill $!; wait\" EXIT
        until grep -qs /requests said; do sleep 0.05; done
        sed -n '/^export/,$ {{ s|DIRECTORY|/mnt/vault|; p }}' said > lines
        . ./lines > heard 2> /dev/null
        cat /mnt/vault/ftpadmin; akvfs unmount /mnt/vault"
    ));
    assert_eq!(cat.ok(), "another");
    let heard = String::from_utf8(world.read("/run/typed/heard").unwrap()).unwrap();
    assert!(heard.starts_with("correct horse battery staple"), "{heard}");
}

#[test]
fn the_table_of_options_is_the_programs() {
    let readme = fs::read_to_string("README.md").unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (kept, after) = rest.split_once(END).unwrap();
    let table = table_of_options();
    let headings = table.lines().filter(|line| line.ends_with("| default | |"));
    assert_eq!(headings.count(), 4, "each group of options stands together");
    if std::env::var_os("UPDATE").is_some() {
        fs::write("README.md", format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(kept, table, "UPDATE=1 cargo test writes it anew");
}

#[test]
fn every_variable_that_is_read_is_in_the_manual_and_on_the_page_about_it() {
    let source = fs::read_to_string("src/cli/environment.rs").unwrap();
    let manual = fs::read_to_string("packaging/akvfs.1.in").unwrap();
    let identity = fs::read_to_string("docs/IDENTITY.md").unwrap();
    let security = fs::read_to_string("docs/SECURITY.md").unwrap();
    let mut read = 0;
    for call in ["text(\"", "secret(\""] {
        for rest in source.split(call).skip(1) {
            let variable = rest.split('"').next().unwrap();
            let page = if variable == "XDG_RUNTIME_DIR" { &security } else { &identity };
            assert!(manual.contains(variable), "the manual does not name {variable}");
            assert!(page.contains(variable), "no page names {variable}");
            read += 1;
        }
    }
    assert!(read >= 20, "only {read} variables were found");
}

#[test]
fn the_table_of_exit_codes_is_the_programs() {
    let codes = rows("README.md", "<!-- exit codes -->");
    let mut codes: Vec<u8> = codes.iter().map(|row| row[0].parse().unwrap()).collect();
    let mut known: Vec<u8> =
        EXITS.iter().filter(|exit| shown(**exit)).map(|it| it.code()).collect();
    known.push(0);
    codes.sort_unstable();
    known.sort_unstable();
    assert_eq!(codes, known);
}

#[test]
fn the_table_of_errors_is_the_programs() {
    let rows = rows("README.md", "<!-- errors -->");
    for (words, whys) in ERRORS {
        let row = rows.iter().find(|row| row[0].contains(words));
        let name = row.unwrap_or_else(|| panic!("{words}"))[1].trim_matches('`');
        let (_, number) = NUMBERS.iter().find(|(known, _)| *known == name).unwrap();
        for why in *whys {
            assert_eq!(errno(*why).code(), *number, "{words}: {why:?} is not {name}");
            assert!(is_in_the_table(*why));
        }
    }
    assert_eq!(rows.len(), ERRORS.len());
}

#[test]
fn the_map_of_the_rooms_is_the_one_that_is_kept_to() {
    let rows = rows("docs/ARCHITECTURE.md", "<!-- map -->");
    let drawn = rows.iter().map(|row| (row[0].trim_matches('`').to_owned(), row[2].clone()));
    let kept = ROOMS.iter().filter(|(name, ..)| !["main", "lib"].contains(name));
    let kept = kept.map(|(name, uses, _)| ((*name).to_owned(), uses.join(", ")));
    assert_eq!(drawn.collect::<Vec<_>>(), kept.collect::<Vec<_>>());
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = path.parent().unwrap().join(file);
            let target = if file.is_empty() { path.clone() } else { target };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let headings = fs::read_to_string(&target).unwrap();
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                assert!(headings.any(|it| anchor_of(it) == anchor), "{}: {link}", path.display());
            }
            links += 1;
        }
    }
    assert!(links >= 8, "only {links} links were found");
}

/// Runs this binary to list its tests; a document that names one which is gone is wrong.
#[test]
fn every_test_that_a_document_names_exists() {
    let program = std::env::current_exe().unwrap();
    let listed = Command::new(program).arg("--list").output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    let listed: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let mut named = 0;
    for (path, text) in documents() {
        for span in spans(&text).filter(|span| is_a_tests_name(span)) {
            assert!(listed.contains(&span), "{}: there is no test {span}", path.display());
            named += 1;
        }
    }
    assert!(named > 0, "no document names a test");
}

#[test]
fn each_promise_has_its_test() {
    let semantics = fs::read_to_string("docs/SEMANTICS.md").unwrap();
    let (_, promises) = semantics.split_once("\n## ").unwrap();
    let paragraphs = promises.split("\n\n").filter(|part| part.trim_end().ends_with('.'));
    let security = fs::read_to_string("docs/SECURITY.md").unwrap();
    let (_, rest) = security.split_once("\n## What is defended\n").unwrap();
    let (defended, _) = rest.split_once("\n## ").unwrap();
    let points = defended.split("\n* ").skip(1);
    let mut promises = 0;
    for promise in paragraphs.chain(points) {
        assert!(spans(promise).any(is_a_tests_name), "no test is named:\n{promise}");
        promises += 1;
    }
    assert!(promises > 40, "only {promises} promises were found");
}

#[test]
fn each_recipe_names_its_test_and_the_readme_leads_to_every_document() {
    let recipes = fs::read_to_string("docs/RECIPES.md").unwrap();
    let recipes: Vec<&str> = recipes.split("\n## ").skip(2).collect();
    for recipe in &recipes {
        assert!(spans(recipe).any(is_a_tests_name), "no test is named:\n{recipe}");
        assert!(recipe.contains("```"), "there is nothing to type:\n{recipe}");
    }
    assert!(recipes.len() > 20, "only {} recipes were found", recipes.len());
    let readme = fs::read_to_string("README.md").unwrap();
    for (path, _) in documents().iter().filter(|(path, _)| path != Path::new("README.md")) {
        assert!(readme.contains(&format!("]({})", path.display())), "{}", path.display());
    }
}

/// The documents that a person reads.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    paths.extend(fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path()));
    paths.retain(|path| path.extension().is_some_and(|it| it == "md"));
    assert!(paths.len() >= 5, "{paths:?}");
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The fenced blocks: their kind, which is the first word, and their lines.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.map(|(kind, body)| (kind.split(' ').next().unwrap_or(kind), body))
}

/// What stands between single backticks, outside the blocks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

/// The lines that a person may type, those that go on joined.
fn typed(text: &str) -> Vec<String> {
    let prose = spans(text).filter(|span| span.starts_with("akvfs ")).map(ToOwned::to_owned);
    let kinds = ["sh", "fstab"];
    let blocks = blocks(text).filter(|(kind, _)| kinds.contains(kind));
    let lines = blocks.flat_map(|(_, body)| {
        let body = body.replace("\\\n", " ");
        let lines = body.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>()
    });
    prose.chain(lines).collect()
}

/// Whether a line is one for us, and if so, whether it would be obeyed.
fn understand(line: &str) -> Result<bool, String> {
    let mut ours = false;
    for part in line.split([';', '|', '>']).flat_map(|part| part.split(" && ")) {
        let words: Vec<&str> = part.split_whitespace().filter(|word| *word != "sudo").collect();
        ours |= match words.as_slice() {
            ["akvfs", rest @ ..] => obeyed("akvfs", rest)?,
            ["mount", "-t", "akvfs", rest @ ..] => obeyed("mount.akvfs", rest)?,
            [vault, directory, "akvfs", options, "0", "0"] => {
                obeyed("mount.akvfs", &[vault, directory, "-o", options])?
            }
            ["make", target, ..] => {
                let makefile = fs::read_to_string("Makefile").unwrap();
                let known = makefile.lines().any(|it| it.starts_with(&format!("{target}:")));
                known.then_some(true).ok_or("there is no such target")?
            }
            ["cargo", "run", rest @ ..] => {
                let after = |flag| rest.iter().skip_while(move |word| **word != flag).nth(1);
                let example = after("--example").map(|name| format!("examples/{name}.rs"));
                let package = after("-p").map(|name| name.replace("akvfs-", "") + "/src/main.rs");
                let source = example.or(package).ok_or("what is run is not said")?;
                Path::new(&source).exists().then_some(true).ok_or("there is no such program")?
            }
            _ => false,
        };
    }
    Ok(ours)
}

/// Whether the program takes these words, users, groups and files being those of this machine.
fn obeyed(program: &str, words: &[&str]) -> Result<bool, String> {
    let mut arguments = vec![OsString::from(program)];
    for word in words {
        let parts = word.split(',').map(|part| match part.split_once('=') {
            Some((name @ ("gid" | "uid" | "--gid" | "--uid"), _)) => format!("{name}=root"),
            Some((name @ ("run-as" | "--run-as"), _)) => format!("{name}=nobody"),
            Some(("ca-file" | "config", _)) => "ro".to_owned(),
            // This machine has no tags.
            _ if part.starts_with("tag:") => "my-vault".to_owned(),
            _ => part.to_owned(),
        });
        arguments.push(parts.collect::<Vec<_>>().join(",").into());
    }
    // A command that is only mentioned is there, at least.
    if program == "akvfs" && words.len() == 1 {
        arguments.push("--help".into());
    }
    let order = arguments::read(&arguments).map_err(|complaint| complaint.to_string())?;
    let environment = Surroundings::default();
    let meant = match order {
        Order::Mount(order) => config::mount(&order, &environment).map(|wanted| wanted.warnings),
        Order::List(order) => {
            Access::to_vault(&order.vault, &order.settings, &environment).map(|_| vec![])
        }
        Order::Get(order) => match &order.secret {
            Some(name) if SecretName::parse(name).is_none() => return Err("no name".to_owned()),
            Some(_) => {
                Access::to_vault(&order.vault, &order.settings, &environment).map(|_| vec![])
            }
            None => Access::to_secret(&order.vault, &order.settings, &environment).map(|_| vec![]),
        },
        Order::Refresh(order) => reach::names(&order.secrets).map(|_| vec![]),
        Order::Watch(order) => reach::names(&order.secrets).map(|_| vec![]),
        Order::Unmount(_) | Order::Status(_) | Order::Print(_) | Order::Manual => Ok(vec![]),
    };
    let warnings = meant.map_err(|complaint| complaint.to_string())?;
    warnings.is_empty().then_some(true).ok_or_else(|| format!("it is warned about: {warnings:?}"))
}

fn table_of_options() -> String {
    let mut table = String::new();
    let mut group = None;
    for opt in &OPTIONS {
        if group != Some(opt.group) {
            group = Some(opt.group);
            let heading = opt.group.heading();
            write!(table, "\n| {heading} | default | |\n|---|---|---|\n").unwrap();
        }
        let value = opt.placeholder().map_or_else(String::new, |value| format!("={value}"));
        let (help, default) = match opt.help.split_once(" [default: ") {
            Some((help, default)) => (help, default.trim_end_matches(']').to_owned()),
            None => (opt.help, opt.default.map_or_else(String::new, |it| format!("`{it}`"))),
        };
        let name = format!("{}{value}", opt.name).replace('|', "\\|");
        writeln!(table, "| `{name}` | {default} | {help} |").unwrap();
    }
    let taken = |command| {
        let names = Opt::of(command).map(|opt| format!("`--{}`", opt.long()));
        names.collect::<Vec<_>>().join(", ")
    };
    let (get, list) = (taken(option::Command::Get), taken(option::Command::List));
    write!(table, "\n`akvfs list` takes {list}; `akvfs get` takes {get}.\n").unwrap();
    table
}

/// The cells of the table that follows a mark.
fn rows(path: &str, mark: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(mark).unwrap();
    let lines = rest.trim_start().lines().take_while(|line| line.starts_with('|')).skip(2);
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|it| it.trim().to_owned()).collect();
    lines.map(cells).collect()
}

/// `room::what_it_promises`, as the tests of this binary are called.
fn is_a_tests_name(span: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let words = |part: &str| part.contains('_') && part.chars().all(|it| plain(it) || it == '_');
    span.rsplit_once("::").is_some_and(|(room, name)| {
        !room.starts_with("akvfs") && name.matches('_').count() >= 2 && words(name)
    })
}

fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|it| it.is_alphanumeric() || [' ', '-', '_'].contains(it));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// Whether an exit code is the program's own word. The other one is what a shell makes of SIGPIPE.
fn shown(exit: Exit) -> bool {
    match exit {
        Exit::Usage
        | Exit::System
        | Exit::NotFound
        | Exit::Refused
        | Exit::Unreachable
        | Exit::Mount => true,
        Exit::Pipe => false,
    }
}

/// Every reason is in a row below: a new one does not compile before it is.
fn is_in_the_table(why: Why) -> bool {
    match why {
        Why::Refused(
            Refusal::Missing
            | Refusal::Disabled
            | Refusal::Denied(_)
            | Refusal::Expired
            | Refusal::NotYet,
        )
        | Why::Failed(
            Failure::NoIdentity
            | Failure::NoToken
            | Failure::Unauthorized
            | Failure::Throttled
            | Failure::Unreachable
            | Failure::Nonsense
            | Failure::Firewall
            | Failure::NoRoom,
        ) => true,
    }
}

const EXITS: [Exit; 7] = [
    Exit::Usage,
    Exit::System,
    Exit::NotFound,
    Exit::Refused,
    Exit::Unreachable,
    Exit::Mount,
    Exit::Pipe,
];

const ERRORS: &[(&str, &[Why])] = &[
    ("no such secret", &[Why::Refused(Refusal::Missing)]),
    (
        "no permission",
        &[
            Why::Refused(Refusal::Denied(Denial::Policy)),
            Why::Refused(Refusal::Denied(Denial::Role)),
            Why::Refused(Refusal::Denied(Denial::Firewall)),
            Why::Refused(Refusal::Denied(Denial::Connection)),
            Why::Failed(Failure::Firewall),
        ],
    ),
    ("the token was not accepted", &[Why::Failed(Failure::Unauthorized)]),
    ("to come", &[Why::Refused(Refusal::NotYet)]),
    ("is over", &[Why::Refused(Refusal::Expired)]),
    ("disabled", &[Why::Refused(Refusal::Disabled)]),
    ("no answer", &[Why::Failed(Failure::Throttled), Why::Failed(Failure::Unreachable)]),
    ("no sense", &[Why::Failed(Failure::Nonsense)]),
    ("no identity", &[Why::Failed(Failure::NoIdentity), Why::Failed(Failure::NoToken)]),
    ("room=", &[Why::Failed(Failure::NoRoom)]),
];

const NUMBERS: &[(&str, i32)] = &[
    ("ENOENT", libc::ENOENT),
    ("EACCES", libc::EACCES),
    ("EKEYREVOKED", libc::EKEYREVOKED),
    ("EKEYEXPIRED", libc::EKEYEXPIRED),
    ("ETIMEDOUT", libc::ETIMEDOUT),
    ("EIO", libc::EIO),
    ("ENOKEY", libc::ENOKEY),
    ("ENOMEM", libc::ENOMEM),
];

const BEGIN: &str = "<!-- options: UPDATE=1 cargo test writes this -->\n";
const END: &str = "<!-- end -->";
