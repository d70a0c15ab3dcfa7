//! What a request can come to.

/// Whether a request that begins at any of `begins` may come to each place, of `places`; `onward` is what follows one.
/// O(places and what follows them).
pub(super) fn reached<I: IntoIterator<Item = usize>>(
    places: usize,
    begins: impl IntoIterator<Item = usize>,
    onward: impl Fn(usize) -> I,
) -> Vec<bool> {
    let mut open: Vec<usize> = begins.into_iter().collect();
    let mut is_seen = vec![false; places];
    while let Some(at) = open.pop() {
        let Some(is_seen) = is_seen.get_mut(at).filter(|is_seen| !**is_seen) else { continue };
        *is_seen = true;
        open.extend(onward(at));
    }
    is_seen
}

/// Whether a request that begins at any of `begins` comes to nothing that is `bad`; `onward` is what follows each place, of
/// `places`. O(places and what follows them).
pub(super) fn avoids<I: IntoIterator<Item = usize>>(
    places: usize,
    begins: impl IntoIterator<Item = usize>,
    bad: impl Fn(usize) -> bool,
    onward: impl Fn(usize) -> I,
) -> bool {
    let is_reached = reached(places, begins, onward);
    !is_reached.into_iter().enumerate().any(|(at, is_reached)| is_reached && bad(at))
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_can_be_reached_counts() {
        let onward =
            |at: usize| [vec![1, 2], vec![3], vec![3, 9], vec![], vec![0]].get(at).cloned().unwrap_or_default();
        let avoids = |begin: usize, bad: usize| super::avoids(5, [begin], |at| at == bad, onward);
        assert_eq!([0, 1, 2, 3, 4].map(|bad| avoids(0, bad)), [false, false, false, false, true]);
        assert_eq!([0, 1, 2, 3, 4].map(|bad| avoids(1, bad)), [true, false, true, false, true]);
        assert!(super::avoids(5, [], |_| true, onward) && super::avoids(0, [0], |_| true, onward));
    }
}
