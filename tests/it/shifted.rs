//! Clocks that go wrong for one process while it runs, and for nobody else.
//!
//! A process reads its clocks in code that the kernel maps into it, the vDSO. Here that code is
//! written over, from outside and in this process alone, by one that asks the kernel and adds so
//! many seconds to what one clock says.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use rustix::process::Signal;
use rustix::process::kill_process;

use crate::namespace::Process;
use crate::world::World;
use crate::world::until;

/// A clock, by the kernel's number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// What the wall shows.
    Wall = 0,
    /// The time since boot, suspend included.
    Boot = 7,
}

/// The program that reads clocks is only known here for one kind of machine.
pub(crate) const CAN_SHIFT: bool = cfg!(target_arch = "x86_64");

impl World {
    /// From now on a clock shows so many seconds more than it does to the processes of a mount that
    /// go by it. Zero puts it right.
    pub(crate) fn shift(&self, clock: Clock, seconds: i64) {
        let supervisor = self.process("supervisor").unwrap();
        // It would take a relay that is stopped for one that hangs.
        supervisor.stop();
        self.process("worker").unwrap().shift(clock, seconds);
        match clock {
            Clock::Wall => {
                self.process("relay").unwrap().shift(clock, seconds);
                supervisor.shift(clock, seconds);
            }
            // No window is the others'.
            Clock::Boot => supervisor.go_on(),
        }
    }
}

impl Process {
    fn shift(&self, clock: Clock, seconds: i64) {
        let memory = format!("/proc/{}/mem", self.pid.as_raw_nonzero());
        let memory = OpenOptions::new().read(true).write(true).open(memory).unwrap();
        let (start, end) = self.vdso();
        let reader = start + reader(&memory, start, end);
        // Nobody may be in the middle of what is written over.
        until("nobody reads a clock", || {
            self.stop();
            let reads = self.counters().into_iter().any(|at| (start..end).contains(&at));
            if reads {
                self.go_on();
            }
            !reads
        });
        memory.write_all_at(&code(clock, seconds), reader).unwrap();
        self.go_on();
    }

    fn go_on(&self) {
        kill_process(self.pid, Signal::CONT).unwrap();
    }

    /// From where to where the code for clocks is.
    fn vdso(&self) -> (u64, u64) {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid.as_raw_nonzero())).unwrap();
        let line = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        (number(start), number(end))
    }

    /// Where its threads are, which are stopped.
    fn counters(&self) -> Vec<u64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid.as_raw_nonzero())).unwrap();
        let counter = |task: fs::DirEntry| {
            let words = fs::read_to_string(task.path().join("syscall")).unwrap();
            let counter = words.trim().rsplit(' ').next().unwrap().trim_start_matches("0x");
            // One that the kernel calls running has not stopped yet.
            u64::from_str_radix(counter, 16).unwrap_or(u64::MAX)
        };
        tasks.flatten().map(counter).collect()
    }
}

/// Where in the vDSO, which is an ELF file of 64 bits, the function is that reads a clock.
fn reader(memory: &File, start: u64, end: u64) -> u64 {
    let mut image = vec![0; usize::try_from(end - start).unwrap()];
    memory.read_exact_at(&mut image, start).unwrap();
    let number = |at: usize, length: usize| {
        let bytes = image[at..at + length].iter().rev();
        bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (sections, size, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    let section = |index: usize| sections + index * size;
    let symbols = (0..count).map(section).find(|at| number(at + 4, 4) == DYNSYM).unwrap();
    let names = number(section(number(symbols + 0x28, 4)) + 0x18, 8);
    let (first, length) = (number(symbols + 0x18, 8), number(symbols + 0x20, 8));
    let found = (first..first + length).step_by(24).find(|symbol| {
        let name = &image[names + number(*symbol, 4)..];
        name.starts_with(b"__vdso_clock_gettime\0")
    });
    let symbol = found.unwrap();
    assert!(number(symbol + 16, 8) >= code(Clock::Wall, 0).len(), "it is too short");
    u64::try_from(number(symbol + 8, 8)).unwrap()
}

/// clock_gettime(2) itself, and if it succeeds for that clock, so many seconds more.
fn code(clock: Clock, seconds: i64) -> Vec<u8> {
    let mut code = vec![
        0xb8,
        0xe4,
        0,
        0,
        0, // mov eax, 228
        0x0f,
        0x05, // syscall
        0x85,
        0xc0, // test eax, eax
        0x75,
        18, // jnz to the end
        0x83,
        0xff,
        clock as u8, // cmp edi, the clock
        0x75,
        13, // jnz to the end
        0x48,
        0xb9, // mov rcx, the seconds
    ];
    code.extend(seconds.to_le_bytes());
    code.extend([0x48, 0x01, 0x0e, 0xc3]); // add [rsi], rcx; ret
    code
}

/// The section's kind that holds the symbols of a shared object.
const DYNSYM: usize = 11;
