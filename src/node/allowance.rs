//! How much memory this process may take, by what the system says.

use std::fs;
use std::path::{Path, PathBuf};

/// Values of version 1 without a limit are a little below 2^63.
const NO_LIMIT: u64 = 1 << 62;

/// Where the system tells about memory; other folders in tests.
pub(super) struct System {
    /// `/proc`
    pub(super) proc: PathBuf,
    /// `/sys/fs/cgroup`
    pub(super) cgroup: PathBuf,
}

impl System {
    pub(super) fn here() -> Self {
        Self {
            proc: PathBuf::from("/proc"),
            cgroup: PathBuf::from("/sys/fs/cgroup"),
        }
    }

    /// The memory of the machine, or of the control group if that has less; `None` when the system tells neither.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        let machine = fs::read_to_string(self.proc.join("meminfo"))
            .ok()
            .and_then(|text| kib_of(&text, "MemTotal:"));
        machine.into_iter().chain(self.group_limits()).min()
    }

    /// Resident bytes of this process.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(self.proc.join("self/status")).ok()?;
        kib_of(&text, "VmRSS:")
    }

    /// The limits of the process's group and of all groups around it. In a container its path may not be there; the
    /// root of what is mounted then is its group.
    fn group_limits(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.proc.join("self/cgroup")).unwrap_or_default();
        let mut limits = Vec::new();
        for line in text.lines() {
            let Some((folder, file, group)) = self.place(line) else {
                continue;
            };
            let group = Path::new(group.trim_start_matches('/'));
            for above in group.ancestors() {
                let told = fs::read_to_string(folder.join(above).join(file));
                limits.extend(told.ok().as_deref().and_then(limit_of));
            }
        }
        limits
    }

    /// `0::/group` is version 2, `4:memory:/group` version 1; other controllers say nothing of memory.
    fn place<'a>(&self, line: &'a str) -> Option<(PathBuf, &'static str, &'a str)> {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        if number == "0" && controllers.is_empty() {
            return Some((self.cgroup.clone(), "memory.max", group));
        }
        controllers
            .split(',')
            .any(|name| name == "memory")
            .then(|| (self.cgroup.join("memory"), "memory.limit_in_bytes", group))
    }
}

/// `max` is none.
fn limit_of(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

/// `Name:   1234 kB`
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let system = System {
            proc: root.path().join("proc"),
            cgroup: root.path().join("cgroup"),
        };
        (root, system)
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expect: Option<u64>) {
        let (_root, system) = system(files);
        assert_eq!(system.memory_bytes(), expect, "{files:?}");
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:  2048 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_smallest_limit_around_the_process_counts() {
        check(&[], None);
        check(&[MACHINE], Some(2048 << 10));
        check(
            &[
                MACHINE,
                ("proc/self/cgroup", "0::/a/b\n"),
                ("cgroup/a/memory.max", "1000000\n"),
                ("cgroup/a/b/memory.max", "max\n"),
            ],
            Some(1_000_000),
        );
        check(
            &[
                MACHINE,
                ("proc/self/cgroup", "0::/a/b\n"),
                ("cgroup/a/memory.max", "1000000\n"),
                ("cgroup/a/b/memory.max", "900000\n"),
            ],
            Some(900_000),
        );
    }

    #[test]
    fn a_container_that_does_not_see_its_group_has_it_at_the_root() {
        check(
            &[
                MACHINE,
                ("proc/self/cgroup", "0::/../not/there\n"),
                ("cgroup/memory.max", "700000\n"),
            ],
            Some(700_000),
        );
        check(
            &[
                MACHINE,
                ("proc/self/cgroup", "5:cpu,cpuacct:/c\n4:memory:/docker/c\n"),
                ("cgroup/memory/memory.limit_in_bytes", "600000\n"),
            ],
            Some(600_000),
        );
    }

    #[test]
    fn no_limit_is_written_in_two_ways() {
        check(
            &[
                MACHINE,
                ("proc/self/cgroup", "4:memory:/c\n0::/\n"),
                (
                    "cgroup/memory/c/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
                ("cgroup/memory.max", "max\n"),
            ],
            Some(2048 << 10),
        );
    }

    #[test]
    fn this_process_is_resident_on_this_machine() {
        let system = System::here();
        let resident = system.resident_bytes().unwrap();
        assert!(resident > 1 << 20);
        assert!(system.memory_bytes().unwrap() > resident);
    }
}
