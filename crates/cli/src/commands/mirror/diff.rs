//! The difference of two texts, as `diff -u` prints it: one hunk, from the first line that differs to the last.

use std::path::Path;

/// Lines around the hunk.
const CONTEXT: usize = 3;

/// Empty if the texts are the same. A file that is not there is `/dev/null`, as for `patch`.
pub fn unified(path: &Path, old: Option<&str>, new: Option<&str>) -> String {
    if old == new {
        return String::new();
    }
    let name = |text: Option<&str>| if text.is_some() { path.display().to_string() } else { "/dev/null".to_owned() };
    let heads = format!("--- {}\n+++ {}\n", name(old), name(new));
    let lines = |text: Option<&str>| -> Vec<String> {
        text.unwrap_or_default().split_inclusive('\n').map(str::to_owned).collect()
    };
    let (old, new) = (lines(old), lines(new));
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - same;
    let same_at_end = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| old == new).count();
    let start = same.saturating_sub(CONTEXT);
    let after = same_at_end.min(CONTEXT);
    let (old_end, new_end) = (old.len() - same_at_end, new.len() - same_at_end);
    let range = |end: usize| {
        let count = end + after - start;
        let first = if count == 0 { start } else { start + 1 };
        format!("{first},{count}")
    };
    let mut text = format!("{heads}@@ -{} +{} @@\n", range(old_end), range(new_end));
    let parts = [(' ', &old[start..same]), ('-', &old[same..old_end]), ('+', &new[same..new_end])];
    for (sign, lines) in parts.into_iter().chain([(' ', &old[old_end..old_end + after])]) {
        for line in lines {
            let end = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
            text.push_str(&format!("{sign}{line}{end}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Option<&str>, new: Option<&str>, expected: &str) {
        assert_eq!(unified(Path::new("/f"), old, new), expected);
    }

    #[test]
    fn a_diff_is_what_patch_reads() {
        check(Some("a\n"), Some("a\n"), "");
        check(None, Some("a\nb\n"), "--- /dev/null\n+++ /f\n@@ -0,0 +1,2 @@\n+a\n+b\n");
        check(Some("a\n"), None, "--- /f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n");
        check(
            Some("1\n2\n3\n4\n5\n6"),
            Some("1\n2\n3\n4\nx\n5\n6"),
            "--- /f\n+++ /f\n@@ -2,5 +2,6 @@\n 2\n 3\n 4\n+x\n 5\n 6\n\\ No newline at end of file\n",
        );
        check(Some("a\na\n"), Some("a\n"), "--- /f\n+++ /f\n@@ -1,2 +1,1 @@\n a\n-a\n");
    }
}
