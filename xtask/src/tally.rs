//! Counting tests from what their runners print.

/// How many tests ran, by their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// Both together.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    /// Sums up all lines of `output` that a known runner ends with:
    ///
    /// * libtest: `test result: ok. 5 passed; 0 failed; 1 ignored; …`
    /// * nextest: `Summary [ 1.0s] 8 tests run: 7 passed (1 slow), 1 failed, 0 skipped`
    /// * the client tests: `clients: 60 passed, 0 failed`
    pub(crate) fn of(output: &str) -> Self {
        // nextest shows what a failed test printed, libtest's own line included, indented.
        let lines = output.lines().filter(|line| {
            line.starts_with("test result: ")
                || line.trim_start().starts_with("Summary [")
                || line.starts_with("clients: ")
        });
        lines.fold(Self::default(), |tally, line| tally.plus(Self::of_line(line)))
    }

    fn of_line(line: &str) -> Self {
        let before = |names: &[&str]| {
            let words: Vec<&str> = line.split([' ', ';', ',']).collect();
            let pairs = words.windows(2);
            let counts = pairs.filter(|pair| names.contains(&pair[1]));
            counts.filter_map(|pair| pair[0].parse::<u64>().ok()).sum()
        };
        Self {
            passed: before(&["passed"]),
            // nextest tells apart how a test failed.
            failed: before(&["failed", "exec", "timed"]),
            skipped: before(&["skipped", "ignored"]),
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn libtest_prints_a_line_for_each_program() {
        let output = "running 2 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
            test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 9 filtered out\n";
        assert_eq!(Tally::of(output), tally(5, 4, 1));
    }

    #[test]
    fn nextest_prints_one_line() {
        let output = "PASS [ 0.1s] x\n    test result: FAILED. 0 passed; 1 failed\n     \
                      Summary [   1.03s] 8 tests run: 8 passed, 0 skipped\n";
        assert_eq!(Tally::of(output), tally(8, 0, 0));
        let output = "Summary [ 9.1s] 10/12 tests run: 6 passed (1 slow, 1 flaky), \
            2 failed, 1 exec failed, 1 timed out, 3 skipped";
        assert_eq!(Tally::of(output), tally(6, 4, 3));
    }

    #[test]
    fn what_a_test_prints_is_not_counted() {
        assert_eq!(Tally::of("3 passed\nresult: 4 failed\n"), tally(0, 0, 0));
        assert_eq!(Tally::of("clients: 60 passed, 1 failed\n"), tally(60, 1, 0));
    }
}
