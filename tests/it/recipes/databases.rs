//! PostgreSQL and MariaDB, clients and servers.

use std::path::Path;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::ROTATIONS;
use crate::recipes::kitchen::Server;
use crate::recipes::kitchen::find;
use crate::recipes::kitchen::password;
use crate::world::World;
use crate::world::until;

/// Where the newest PostgreSQL server on the machine keeps its programs, as Debian has it.
fn postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|it| it.path().join("bin")).filter(|it| it.join("initdb").exists()).max();
    if newest.is_none() {
        let _: Option<World> = World::skip("no PostgreSQL server is installed");
    }
    newest
}

/// A server of PostgreSQL with a role `app` and a database `shop`, and with these settings.
fn start_postgres<'a>(kitchen: &'a Kitchen, programs: &Path, settings: &str) -> Server<'a> {
    let programs = programs.display();
    let made = format!(
        "install -d -o postgres -g postgres /srv/db; cd /srv/db
        setpriv --reuid=postgres --regid=postgres --clear-groups \\
            {programs}/initdb -D /srv/db/data -A trust --no-sync -E UTF8 --locale=C > /dev/null"
    );
    kitchen.world.sh(&made).ok();
    let rules = "local all all trust\nhost all all all scram-sha-256\n";
    kitchen.write("/srv/db/data/pg_hba.conf", rules);
    let own = "listen_addresses = '*'\nunix_socket_directories = '/srv/db'\nfsync = off\n\
        dynamic_shared_memory_type = mmap\nlogging_collector = off\n";
    kitchen.write("/srv/db/data/postgresql.conf", &format!("{own}{settings}"));
    let mut command = kitchen.as_whom("postgres", "sh");
    let line = format!("exec {programs}/postgres -D /srv/db/data 2> /srv/db/log");
    command.args(["-c", &line]).current_dir("/srv/db");
    let ready = "psql -h /srv/db -U postgres -Atc 'select 1'";
    let server = kitchen.start(&mut command, || kitchen.world.sh(ready).code == Some(0));
    let made = "create role app login; create database shop owner app";
    for part in made.split("; ") {
        kitchen.world.sh(&format!("psql -h /srv/db -U postgres -qc '{part}'")).ok();
    }
    server
}

#[test]
fn psql_takes_its_password_from_pgpassfile() {
    let Some(programs) = postgres() else { return };
    let Some(kitchen) = Kitchen::new("PostgreSQL: PGPASSFILE", &["psql"]) else { return };
    let _server = start_postgres(&kitchen, &programs, "");
    let accept = |number| {
        let line = format!("alter role app password '{}'", password(number));
        kitchen.world.sh(&format!("psql -h /srv/db -U postgres -qc \"{line}\"")).ok();
    };
    accept(0);
    let served = kitchen.serve();
    served.over_rotations_and_deaths(accept, |_| assert_eq!(kitchen.type_all(), ["app\n"]));
}

#[test]
fn the_postgresql_server_takes_its_key_from_the_mount_and_the_next_when_told() {
    let Some(programs) = postgres() else { return };
    let heading = "PostgreSQL: the server's key";
    let Some(kitchen) = Kitchen::new(heading, &["openssl"]) else { return };
    let pairs = kitchen.certify("db.example.com");
    kitchen.shelve("db-key", pairs.iter().map(|(key, _)| key.clone()));
    kitchen.shelve("db-cert", pairs.iter().map(|(_, certificate)| certificate.clone()));
    let served = kitchen.serve();
    let settings = &kitchen.recipe.files()[0].1;
    let server = start_postgres(&kitchen, &programs, settings);
    let shown = || kitchen.certificate_at(5432, "-starttls postgres");
    served.over_rotations_and_deaths(
        |number| assert_eq!(shown(), pairs[number - 1].1),
        |number| {
            server.signal(Signal::HUP);
            until("it shows the new one", || shown() == pairs[number].1);
        },
    );

    // A key that does not match is complained of, and the old pair goes on.
    kitchen.world.vault().put("db-key", &pairs[0].0);
    until("it is rotated", || served.reads("db-key") == pairs[0].0);
    server.signal(Signal::HUP);
    let log = || kitchen.world.sh("cat /srv/db/log").ok();
    until("it complains", || log().contains("SSL configuration was not reloaded"));
    assert_eq!(shown(), pairs[ROTATIONS].1);
}

#[test]
fn mariadb_takes_its_password_from_a_file_of_defaults() {
    let programs = ["mariadb", "mariadbd", "mariadb-install-db"];
    let heading = "MariaDB and MySQL: --defaults-extra-file";
    let Some(kitchen) = Kitchen::new(heading, &programs) else { return };
    let path = find("mariadbd").unwrap();
    let made = "mkdir /srv/tmp; mariadb-install-db --no-defaults --user=root --datadir=/srv/db \
                --auth-root-authentication-method=normal --skip-test-db > /dev/null 2>&1";
    kitchen.world.sh(made).ok();
    let mut command = kitchen.world.command(path.to_str().unwrap());
    command.args(["--no-defaults", "--user=root", "--datadir=/srv/db", "--tmpdir=/srv/tmp"]);
    command.args(["--socket=/srv/db/socket", "--pid-file=/srv/db/pid", "--log-error=/srv/db/log"]);
    let root = "mariadb --no-defaults --socket=/srv/db/socket -e";
    let ready = format!("{root} 'select 1'");
    let _server = kitchen.start(&mut command, || kitchen.world.sh(&ready).code == Some(0));
    let accept = |number| {
        let line =
            format!("create or replace user app@localhost identified by '{}'", password(number));
        kitchen.world.sh(&format!("{root} \"{line}\"")).ok();
    };
    accept(0);
    let served = kitchen.serve();
    served.over_rotations_and_deaths(accept, |_| {
        assert_eq!(kitchen.type_all(), ["app@localhost\n"]);
    });
}
