//! Columns of numbers as bytes, the lowest first: one number where all are the same.

/// A number of a fixed width.
pub(super) trait Cell: Copy {
    /// Its bytes.
    const WIDTH: usize;

    /// Appends them.
    fn put(self, to: &mut Vec<u8>);

    /// The number that they are.
    fn get(bytes: &[u8]) -> Self;

    /// Whether two have the same bytes.
    fn is_same(self, other: Self) -> bool;
}

macro_rules! cells {
    ($($number:ty, $bits:expr);+ $(;)?) => {$(
        impl Cell for $number {
            const WIDTH: usize = size_of::<$number>();

            fn put(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn get(bytes: &[u8]) -> Self {
                let mut all = [0; size_of::<$number>()];
                all.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
                Self::from_le_bytes(all)
            }

            fn is_same(self, other: Self) -> bool {
                $bits(self) == $bits(other)
            }
        }
    )+};
}

cells! {
    u8, |x| x;
    u16, |x| x;
    i16, |x| x;
    u32, |x| x;
    i64, |x| x;
    f64, f64::to_bits;
}

/// All numbers are one.
const ALIKE: u8 = 0;
/// Each by itself.
const EACH: u8 = 1;

/// Appends a column.
pub(super) fn put<T: Cell>(column: &[T], to: &mut Vec<u8>) {
    match column.first() {
        Some(first) if column.iter().all(|cell| cell.is_same(*first)) => {
            to.push(ALIKE);
            first.put(to);
        }
        _ => {
            to.push(EACH);
            to.reserve(column.len() * T::WIDTH);
            for cell in column {
                cell.put(to);
            }
        }
    }
}

/// Takes a column of `length` numbers from the front; none where there are not so many.
pub(super) fn take<T: Cell>(from: &mut &[u8], length: usize) -> Option<Vec<T>> {
    let (how, rest) = from.split_first()?;
    let count = match *how {
        ALIKE => 1,
        EACH => length,
        _ => return None,
    };
    let (cells, rest) = rest.split_at_checked(count.checked_mul(T::WIDTH)?)?;
    *from = rest;
    if *how == ALIKE {
        return Some(vec![T::get(cells); length]);
    }
    Some(cells.chunks_exact(T::WIDTH).map(T::get).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_and_short_ones_are_none() {
        let mut bytes = Vec::new();
        put(&[f64::NAN, f64::NAN], &mut bytes);
        put(&[1_i64, -2, 3], &mut bytes);
        put(&[0.0, -0.0], &mut bytes);
        put::<u16>(&[], &mut bytes);
        assert_eq!(bytes.len(), 9 + 25 + 17 + 1);
        let mut from = &bytes[..];
        assert!(take::<f64>(&mut from, 2).is_some_and(|cells| cells.iter().all(|cell| cell.is_nan())));
        assert_eq!(take::<i64>(&mut from, 3), Some(vec![1, -2, 3]));
        assert!(take::<f64>(&mut from, 2).is_some_and(|cells| cells[1].is_sign_negative()));
        assert_eq!(take::<u16>(&mut from, 0), Some(Vec::new()));
        assert_eq!(from, b"");
        assert_eq!(take::<u8>(&mut &bytes[..8], 1), Some(vec![0]));
        assert_eq!(take::<f64>(&mut &bytes[..8], 2), None);
        assert_eq!(take::<u8>(&mut &[2, 0][..], 1), None);
    }
}
