//! What is known of a column of an index: its type, how that is ordered, whose keys it is sealed under.

use std::cell::{Cell, RefCell, UnsafeCell};

use pgrx::pg_sys::{self, Oid};

use crate::error::Error;
use crate::index_am::key::How;
use crate::pg::{class, index_stmt};

/// `BTREE_AM_OID` of `catalog/pg_am.dat`.
pub const BTREE: Oid = Oid::from_u32(403);
/// `HASH_AM_OID` of `catalog/pg_am.dat`.
pub const HASH: Oid = Oid::from_u32(405);
/// `HASHSTANDARD_PROC` of `access/hash.h`.
const STANDARD: i16 = 1;
/// `BTORDER_PROC` and `BTLessStrategyNumber` of `access/nbtree.h`.
pub const ORDER: i16 = 1;
const LESS: i16 = 1;

/// One column of an index.
///
/// nbtree copies the `FmgrInfo` of a comparison and clears `fn_extra` in the copy, but not `fn_expr`: so that
/// points here, and this begins as a node does.
#[repr(C)]
pub struct Column {
    /// `T_Invalid`, which no expression has.
    tag: pg_sys::NodeTag,
    /// The table.
    pub table: Oid,
    /// The column's number there; of an expression, its place in the index from 1 on, negative. It is in the key.
    pub number: i16,
    /// Of its type.
    pub kind: Kind,
    /// What the operator class is for.
    pub input: Oid,
    /// The btree family that orders as the index does; none of an INCLUDE column.
    pub family: Oid,
    /// The comparison of that.
    pub order: Order,
    /// The index has it in descending order.
    pub descending: bool,
    /// The hash function of its operator class; of an index of keyed hashes only.
    pub hash: Option<Hash>,
    /// How new keys of it are sealed.
    pub how: Cell<How>,
    /// The last right-hand side that was opened, or value that was sealed: an insertion compares one key with many.
    pub last: RefCell<Opened>,
    /// The value that was sealed last. nbtree copies it before it compares anything.
    pub sealed: RefCell<Vec<u64>>,
}

/// How values of a type are passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// The type.
    pub oid: Oid,
    /// `typlen`.
    pub len: i16,
    /// `typbyval`.
    pub by_val: bool,
    /// Its values may be compressed (`typstorage`).
    pub compress: bool,
}

impl Kind {
    /// Of a type.
    pub unsafe fn of(oid: Oid) -> Self {
        let (mut len, mut by_val, mut align) = (0, false, 0);
        // SAFETY: system cache look-ups; an unknown type is an ERROR.
        unsafe {
            pg_sys::get_typlenbyvalalign(oid, &mut len, &mut by_val, &mut align);
            let storage = pg_sys::get_typstorage(oid) as u8;
            Self { oid, len, by_val, compress: len == -1 && matches!(storage, b'x' | b'm') }
        }
    }
}

/// A comparison function, called often.
pub struct Order {
    function: UnsafeCell<pg_sys::FmgrInfo>,
    /// It compares numbers, which are passed by value, with their signs.
    pub signed: bool,
    /// It compares bytes, for an operator class whose "=" goes by the collation all the same.
    pub pattern: bool,
}

impl Order {
    /// Of no type.
    fn none() -> Self {
        let function = UnsafeCell::new(pg_sys::FmgrInfo::default());
        Self { function, signed: false, pattern: false }
    }

    /// Prepares a function; what it keeps lives in `memory`.
    pub unsafe fn of(function: Oid, memory: pg_sys::MemoryContext) -> Self {
        let mut info = pg_sys::FmgrInfo::default();
        // SAFETY: looks the function up, raises if it is gone.
        unsafe { pg_sys::fmgr_info_cxt(function, &mut info, memory) };
        let signed = matches!(
            function.to_u32(),
            pg_sys::F_BTINT2CMP
                | pg_sys::F_BTINT4CMP
                | pg_sys::F_BTINT8CMP
                | pg_sys::F_BTINT24CMP
                | pg_sys::F_BTINT28CMP
                | pg_sys::F_BTINT42CMP
                | pg_sys::F_BTINT48CMP
                | pg_sys::F_BTINT82CMP
                | pg_sys::F_BTINT84CMP
                | pg_sys::F_DATE_CMP
                | pg_sys::F_TIMESTAMP_CMP
                | pg_sys::F_TIMESTAMPTZ_CMP
                | pg_sys::F_TIME_CMP
        );
        let patterns = [pg_sys::F_BTTEXT_PATTERN_CMP, pg_sys::F_BTBPCHAR_PATTERN_CMP];
        let pattern = patterns.contains(&function.to_u32());
        Self { function: UnsafeCell::new(info), signed, pattern }
    }

    /// Compares two opened values.
    #[inline]
    pub unsafe fn call(&self, collation: Oid, a: pg_sys::Datum, b: pg_sys::Datum) -> i32 {
        if self.signed {
            return (a.value() as isize).cmp(&(b.value() as isize)) as i32;
        }
        let function = self.function.get();
        // SAFETY: the values are of the function's types and not NULL; the struct lives in a column or a scan,
        // which the call cannot end.
        unsafe { crate::pg::ffi::FunctionCall2Coll(function, collation, a, b).value() as i32 }
    }

    /// The same for a caller whose frame, and those below it up to C, own nothing: an ERROR jumps over them.
    #[inline]
    pub unsafe fn call_unguarded(&self, collation: Oid, a: pg_sys::Datum, b: pg_sys::Datum) -> i32 {
        // SAFETY: as for `call`.
        unsafe {
            crate::pg::ffi::plain::FunctionCall2Coll(self.function.get(), collation, a, b).value()
                as i32
        }
    }
}

/// A hash function of a type, of 32 bits.
pub struct Hash(UnsafeCell<pg_sys::FmgrInfo>);

impl Hash {
    /// That of a type in an operator family of hashes; what it keeps lives in `memory`.
    pub unsafe fn of(family: Oid, of: Oid, memory: pg_sys::MemoryContext) -> Result<Self, Error> {
        // SAFETY: system cache look-ups; a function that is gone is an ERROR.
        unsafe {
            let function = pg_sys::get_opfamily_proc(family, of, of, STANDARD);
            if function == Oid::INVALID {
                let (of, family) = (of.to_u32(), family.to_u32());
                let what = format!(
                    "missing support function {STANDARD}({of},{of}) in operator family {family}"
                );
                let hint = "Cast the value to the type of the column.".to_owned();
                return Err(Error::BadArgument { what, hint });
            }
            let mut info = pg_sys::FmgrInfo::default();
            pg_sys::fmgr_info_cxt(function, &mut info, memory);
            Ok(Self(UnsafeCell::new(info)))
        }
    }

    /// The hash of a value that is not NULL.
    pub unsafe fn call(&self, collation: Oid, value: pg_sys::Datum) -> u32 {
        // SAFETY: a value of the function's type; the struct lives in a column or a scan's beginning, which the call
        // cannot end.
        unsafe { crate::pg::ffi::FunctionCall1Coll(self.0.get(), collation, value).value() as u32 }
    }
}

/// A sealed value and what it opened to.
#[derive(Default)]
pub struct Opened {
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// Where the value is, unless it is passed by value.
    pub buffer: Vec<u64>,
    /// The value.
    pub value: usize,
}

impl Drop for Opened {
    fn drop(&mut self) {
        super::value::wipe(&mut self.buffer);
        self.value = 0;
    }
}

impl Column {
    /// Looks up what is to be known of column `at`, from 0, of an open index. `memory` lives as long.
    pub unsafe fn of(
        index: pg_sys::Relation,
        at: usize,
        memory: pg_sys::MemoryContext,
    ) -> Result<Self, Error> {
        // SAFETY: an open index has its pg_index row and so many numbers of columns; key columns have a family.
        unsafe {
            let form = &*(*index).rd_index;
            let number = *form.indkey.values.as_ptr().add(at);
            let table = form.indrelid;
            let kind = Kind::of(type_of(index, at, table, number));
            let mut column = Self {
                tag: pg_sys::NodeTag::T_Invalid,
                table,
                number: if number == 0 { -1 - at as i16 } else { number },
                kind,
                input: Oid::INVALID,
                family: Oid::INVALID,
                order: Order::none(),
                descending: false,
                hash: None,
                how: Cell::default(),
                last: RefCell::default(),
                sealed: RefCell::default(),
            };
            if at < form.indnkeyatts as usize {
                let (family, input) =
                    (*(*index).rd_opfamily.add(at), *(*index).rd_opcintype.add(at));
                let less = pg_sys::get_opfamily_member(family, input, input, LESS);
                column.input = input;
                if !(*(*index).rd_indam).amcanorder {
                    column.hash = Some(Hash::of(family, input, memory)?);
                    return Ok(column);
                }
                column.descending =
                    *(*index).rd_indoption.add(at) as u32 & pg_sys::INDOPTION_DESC != 0;
                column.family = btree_family(less).unwrap_or(Oid::INVALID);
                let order = pg_sys::get_opfamily_proc(column.family, input, input, ORDER);
                if order == Oid::INVALID {
                    let name = class::relation_name((*index).rd_id);
                    let what = format!(
                        "operator class of column {} of \"{name}\" has no btree one with the same operators",
                        at + 1
                    );
                    let hint = "Call sealed.adopt_types() again.".to_owned();
                    return Err(Error::BadArgument { what, hint });
                }
                column.order = Order::of(order, memory);
            }
            Ok(column)
        }
    }

    /// Whether the index is ordered by it.
    pub fn is_key(&self) -> bool {
        self.input != Oid::INVALID
    }

    /// Raises an error if an index that names no operator class would get one that btree would not: the type came
    /// after its classes were made, and the class of another type that it is binary-compatible with steps in. A unique
    /// index would find other values equal than the type does.
    pub unsafe fn check_adopted(&self, index: pg_sys::Relation, at: usize) -> Result<(), Error> {
        // SAFETY: an open index; system cache look-ups.
        unsafe {
            let ours = pg_sys::GetDefaultOpClass(self.kind.oid, (*(*index).rd_rel).relam);
            let core = if self.hash.is_some() { HASH } else { BTREE };
            let theirs = pg_sys::GetDefaultOpClass(self.kind.oid, core);
            if ours == Oid::INVALID || theirs == Oid::INVALID {
                return Ok(());
            }
            let is_default = pg_sys::get_opclass_family(ours) == *(*index).rd_opfamily.add(at);
            let input = pg_sys::get_opclass_input_type;
            if !is_default || input(ours) == input(theirs) {
                return Ok(());
            }
        }
        let table = class::relation_name(self.table);
        let column = class::column_name(self.table, self.number).unwrap_or_default();
        let method = if self.hash.is_some() { index_stmt::HASH_METHOD } else { index_stmt::METHOD };
        let method = method.to_string_lossy().into_owned();
        Err(Error::NotAdopted { table, column, method })
    }

    /// Raises an error if values that differ in bytes may be equal for the class's "=", which the index would not find.
    /// Core says so of its own classes.
    pub unsafe fn check_collation(&self, index: pg_sys::Relation, at: usize) -> Result<(), Error> {
        if !self.order.pattern {
            return Ok(());
        }
        // SAFETY: an open index has a collation for each of its key columns.
        unsafe {
            let collation = *(*index).rd_indcollation.add(at);
            if collation == Oid::INVALID || pg_sys::get_collation_isdeterministic(collation) {
                return Ok(());
            }
            let type_name = pg_sys::format_type_be(self.input);
            let type_name = std::ffi::CStr::from_ptr(type_name).to_string_lossy().into_owned();
            Err(Error::PatternCollation { type_name })
        }
    }

    /// The comparison with values of another type, as the btree family has it.
    pub unsafe fn order_with(
        &self,
        left: Oid,
        right: Oid,
        memory: pg_sys::MemoryContext,
    ) -> Result<Order, Error> {
        // SAFETY: system cache look-ups.
        unsafe {
            let order = pg_sys::get_opfamily_proc(self.family, left, right, ORDER);
            if order == Oid::INVALID {
                let what = format!(
                    "missing support function {ORDER}({},{}) in operator family {}",
                    left.to_u32(),
                    right.to_u32(),
                    self.family.to_u32()
                );
                let hint = "Cast the value to the type of the column.".to_owned();
                return Err(Error::BadArgument { what, hint });
            }
            Ok(Order::of(order, memory))
        }
    }
}

/// The type of a column of an index: that of the table's column, or of the expression.
unsafe fn type_of(index: pg_sys::Relation, at: usize, table: Oid, number: i16) -> Oid {
    // SAFETY: as for `Column::of`. The expressions are in the order of the columns that have number 0.
    unsafe {
        if number != 0 {
            return pg_sys::get_atttype(table, number);
        }
        let numbers = (*(*index).rd_index).indkey.values.as_ptr();
        let before = (0..at).filter(|i| *numbers.add(*i) == 0).count();
        let expressions = class::nodes(pg_sys::RelationGetIndexExpressions(index));
        expressions.get(before).map_or(Oid::INVALID, |e| pg_sys::exprType(e.cast()))
    }
}

/// `FormData_pg_amop`.
#[repr(C)]
struct Operator {
    oid: Oid,
    family: Oid,
    left: Oid,
    right: Oid,
    strategy: i16,
    purpose: i8,
    operator: Oid,
    method: Oid,
    sort_family: Oid,
}

/// The btree family in which an operator is "less than": there is one at most that it orders for.
unsafe fn btree_family(less: Oid) -> Option<Oid> {
    // SAFETY: an ordinary catalog scan; the resource owner closes it if something raises.
    unsafe {
        let lock = pg_sys::AccessShareLock as i32;
        let mut keys =
            [class::equals(pg_sys::Anum_pg_amop_amopopr as i16, pg_sys::F_OIDEQ, less.into())];
        let amop = pg_sys::table_open(pg_sys::AccessMethodOperatorRelationId, lock);
        let scan = pg_sys::systable_beginscan(
            amop,
            Oid::from_u32(pg_sys::AccessMethodOperatorIndexId),
            true,
            std::ptr::null_mut(),
            1,
            keys.as_mut_ptr(),
        );
        let mut found = None;
        loop {
            let row = pg_sys::systable_getnext(scan);
            if row.is_null() {
                break;
            }
            let row = &*pg_sys::GETSTRUCT(row).cast::<Operator>();
            if row.method == BTREE && row.strategy == LESS && row.purpose == b's' as i8 {
                found = Some(row.family);
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(amop, lock);
        found
    }
}
