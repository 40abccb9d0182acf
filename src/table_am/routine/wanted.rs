//! Which columns of a table a plan looks at, so that of rows of several parts only those are opened.
//!
//! The table access method is not told. So when a plan is about to run, its scans are gone through: a scan
//! whose slot is read by nobody but its own expressions, or those of a node above it that computes new rows
//! and keeps none of its input's, says which columns it needs. Wherever that is not certain all are opened,
//! and so are rows that reach us by another way (triggers, EvalPlanQual, RETURNING, COPY).
//!
//! Only what scans read may be NULL or a mask for who may not open a column: other slots may be what a
//! constraint decides by, or what is stored again (`gate::Reader`).
//!
//! Of each scan it is only written down whose expressions those are. They are read when the first row of several parts
//! comes: most tables have none, and to read them takes longer than to look up a row.

use std::ffi::c_int;
use std::sync::OnceLock;

use pgrx::pg_sys::{self, NodeTag};

use super::slot;
use crate::pg::call::callback;
use crate::pg::{hook, user};
use crate::table_am::gate::{self, Reader};

static START_BEFORE_US: OnceLock<pg_sys::ExecutorStart_hook_type> = OnceLock::new();
static RUN_BEFORE_US: OnceLock<pg_sys::ExecutorRun_hook_type> = OnceLock::new();

/// Puts the hooks in place. Called once, in the postmaster.
pub fn install() {
    // SAFETY: the hooks are plain pointers that only this thread reads and writes; ours live as long as the
    // library, which is never unloaded.
    unsafe {
        let _ = START_BEFORE_US.set(pg_sys::ExecutorStart_hook);
        pg_sys::ExecutorStart_hook = Some(executor_start);
        let _ = RUN_BEFORE_US.set(pg_sys::ExecutorRun_hook);
        pg_sys::ExecutorRun_hook = Some(executor_run);
    }
}

/// No `pg_guard`: an ERROR of the start itself jumps over this frame, which owns nothing.
unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, eflags: c_int) {
    hook::copy_out_ended();
    gate::checks_end(0);
    // SAFETY: the arguments are passed on as they came.
    unsafe {
        match START_BEFORE_US.get() {
            Some(Some(previous)) => previous(query, eflags),
            _ => raw::standard_ExecutorStart(query, eflags),
        }
        if !(*query).planstate.is_null() {
            look(query, eflags);
        }
    }
}

/// As `executor_start`. What a foreign key's query calls may run another that was made ready before (a cursor).
unsafe extern "C-unwind" fn executor_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    #[cfg(not(feature = "pg18"))] once: bool,
) {
    gate::checks_end(query.addr());
    // SAFETY: the arguments are passed on as they came.
    unsafe {
        match RUN_BEFORE_US.get() {
            #[cfg(feature = "pg18")]
            Some(Some(previous)) => previous(query, direction, count),
            #[cfg(feature = "pg18")]
            _ => raw::standard_ExecutorRun(query, direction, count),
            #[cfg(not(feature = "pg18"))]
            Some(Some(previous)) => previous(query, direction, count, once),
            #[cfg(not(feature = "pg18"))]
            _ => raw::standard_ExecutorRun(query, direction, count, once),
        }
    }
    gate::checks_end(0);
}

/// What the walk over a plan is told.
struct Walk {
    /// For whom its scans read.
    reader: Reader,
    /// The query, if it is a foreign key's that hands rows to nobody; else 0.
    checks: usize,
}

unsafe extern "C-unwind" fn look(query: *mut pg_sys::QueryDesc, eflags: c_int) {
    callback!({
        // SAFETY: a plan that was just made ready.
        unsafe {
            let mut how = Walk { reader: Reader::User, checks: 0 };
            if is_foreign_keys(query, eflags) {
                // Not NULL or a mask: the key would be decided by it.
                how.reader = Reader::Writer;
                if user::in_foreign_key_check() && shows_nothing((*query).planstate) {
                    how = Walk { reader: Reader::Internal, checks: query.addr() };
                }
            }
            walk((*query).planstate, (&raw mut how).cast());
        }
    })
}

/// Whether PostgreSQL made the query to enforce a foreign key, or to see whether a new one holds, which it does as the
/// current user (`RI_Initial_Check`). Functions called within it (casts, triggers) run under the same flags, but nobody else
/// has SPI leave the triggers to the query above (`AfterTriggerEndQuery`, trigger.c), and what a rule adds to it goes nowhere.
unsafe fn is_foreign_keys(query: *mut pg_sys::QueryDesc, eflags: c_int) -> bool {
    // SAFETY: a query that was just made ready has a destination.
    unsafe {
        eflags & pg_sys::EXEC_FLAG_SKIP_TRIGGERS as i32 != 0
            && (*(*query).dest).mydest == pg_sys::CommandDest::DestSPI
    }
}

/// Whether a foreign key's query hands rows to no code of the table's owner: a rule, a trigger, a constraint or an
/// expression, which would see what he may not open.
unsafe fn shows_nothing(root: *mut pg_sys::PlanState) -> bool {
    // SAFETY: the top of a plan; the tag says which struct it is. Its tables are open.
    unsafe {
        if (*root).type_ != NodeTag::T_ModifyTableState {
            return true;
        }
        let state = &*root.cast::<pg_sys::ModifyTableState>();
        let named = &*(*state.rootResultRelInfo).ri_RelationDesc;
        // (relhasrules stays true when rules are gone)
        let has_rules = named.rd_rules.as_ref().is_some_and(|rules| rules.numLocks > 0);
        let updates = state.operation == pg_sys::CmdType::CMD_UPDATE;
        // An update may move a row to any partition.
        let moves = updates
            && (*named.rd_rel).relkind == pg_sys::RELKIND_PARTITIONED_TABLE as std::ffi::c_char;
        let tables = std::slice::from_raw_parts(state.resultRelInfo, state.mt_nrels as usize);
        !has_rules
            && !moves
            && tables.iter().all(|table| {
                let constraints = (*(*table.ri_RelationDesc).rd_att).constr.as_ref();
                let computes = |c: &pg_sys::TupleConstr| c.num_check > 0 || c.has_generated_stored;
                only_foreign_keys(table.ri_TrigDesc)
                    && !(updates && constraints.is_some_and(computes))
            })
    }
}

unsafe extern "C-unwind" fn walk(
    state: *mut pg_sys::PlanState,
    context: *mut core::ffi::c_void,
) -> bool {
    // SAFETY: planstate_tree_walker() passes nodes of the plan, and what `look` gave it.
    unsafe {
        let how = &*context.cast::<Walk>();
        below(state, (*state).lefttree, pg_sys::OUTER_VAR);
        below(state, (*state).righttree, pg_sys::INNER_VAR);
        if let Some(scan) = scan_of(state) {
            slot::serve((*scan).ss_ScanTupleSlot, how.reader);
            if how.checks != 0 {
                gate::checks(how.checks, super::owner((*scan).ss_currentRelation));
            }
            if !(*state).ps_ProjInfo.is_null() {
                slot::read_by((*scan).ss_ScanTupleSlot, Readers::of(state));
            }
        }
        if (*state).type_ == NodeTag::T_ModifyTableState {
            serve_foreign_keys(state.cast());
        }
        raw::planstate_tree_walker(state, Some(walk), context)
    }
}

/// Whether all triggers of a table, if it has any, are those of foreign keys.
unsafe fn only_foreign_keys(triggers: *const pg_sys::TriggerDesc) -> bool {
    // SAFETY: null, or an array of so many.
    unsafe {
        let Some(triggers) = triggers.as_ref() else { return true };
        let all = std::slice::from_raw_parts(triggers.triggers, triggers.numtriggers as usize);
        all.iter().all(|t| pg_sys::RI_FKey_trigger_type(t.tgfoid) != pg_sys::RI_TRIGGER_NONE as i32)
    }
}

/// Of a table whose triggers are those of foreign keys only: these are handed rows that nobody else sees.
unsafe fn serve_foreign_keys(state: *mut pg_sys::ModifyTableState) {
    // SAFETY: a node of a plan with an array of so many tables; the slots are made in the memory of the query
    // and kept there, as when the first trigger fires.
    unsafe {
        for i in 0..(*state).mt_nrels as usize {
            let table = (*state).resultRelInfo.add(i);
            if (*table).ri_TrigDesc.is_null() || !only_foreign_keys((*table).ri_TrigDesc) {
                continue;
            }
            let estate = (*state).ps.state;
            for slot in [
                pg_sys::ExecGetTriggerOldSlot(estate, table),
                pg_sys::ExecGetTriggerNewSlot(estate, table),
            ] {
                if slot::is_lazy(slot) {
                    slot::serve(slot, Reader::Internal);
                }
            }
        }
    }
}

/// A node that scans a table of ours, with the slot that its rows are put into.
unsafe fn scan_of(state: *mut pg_sys::PlanState) -> Option<*mut pg_sys::ScanState> {
    // SAFETY: a node of a plan; the tag says which struct it is. All of these begin with a ScanState.
    unsafe {
        let scans = matches!(
            (*state).type_,
            NodeTag::T_SeqScanState
                | NodeTag::T_SampleScanState
                | NodeTag::T_IndexScanState
                | NodeTag::T_BitmapHeapScanState
                | NodeTag::T_TidScanState
                | NodeTag::T_TidRangeScanState
        );
        let scan = state.cast::<pg_sys::ScanState>();
        let ours =
            scans && !(*scan).ss_ScanTupleSlot.is_null() && slot::is_lazy((*scan).ss_ScanTupleSlot);
        ours.then_some(scan)
    }
}

/// Adds the columns that a scan's own expressions look at.
unsafe fn own_columns(state: *mut pg_sys::PlanState, wanted: &mut *mut pg_sys::Bitmapset) {
    // SAFETY: as for `scan_of`; the set is made in the memory of the query, as the slot is.
    unsafe {
        let plan = (*state).plan;
        let relation = (*plan.cast::<pg_sys::Scan>()).scanrelid;
        let mut add = |list: *mut pg_sys::List| {
            pg_sys::pull_varattnos(list.cast(), relation as _, wanted);
        };
        // Without a projection the list is all columns, for whoever is above.
        if !(*state).ps_ProjInfo.is_null() {
            add((*plan).targetlist);
        }
        add((*plan).qual);
        match (*plan).type_ {
            NodeTag::T_IndexScan => {
                let index = &*plan.cast::<pg_sys::IndexScan>();
                add(index.indexqualorig);
                add(index.indexorderbyorig);
            }
            NodeTag::T_BitmapHeapScan => {
                add((*plan.cast::<pg_sys::BitmapHeapScan>()).bitmapqualorig);
            }
            NodeTag::T_TidScan => add((*plan.cast::<pg_sys::TidScan>()).tidquals),
            NodeTag::T_TidRangeScan => add((*plan.cast::<pg_sys::TidRangeScan>()).tidrangequals),
            _ => {}
        }
    }
}

/// A scan that hands its own slot up is read by the node above it.
unsafe fn below(parent: *mut pg_sys::PlanState, child: *mut pg_sys::PlanState, side: c_int) {
    // SAFETY: nodes of a plan.
    unsafe {
        if !child.is_null()
            && (*child).ps_ProjInfo.is_null()
            && let Some(scan) = scan_of(child)
        {
            slot::read_by((*scan).ss_ScanTupleSlot, Readers { scan: child, parent, side });
        }
    }
}

/// Whose expressions look at the slot of a scan.
#[derive(Clone, Copy)]
pub struct Readers {
    /// The scan; null if that is not known, and all columns are looked at.
    scan: *mut pg_sys::PlanState,
    /// The node above it; null if the scan computes new rows itself.
    parent: *mut pg_sys::PlanState,
    /// By which number that one's expressions name the scan.
    side: c_int,
}

impl Readers {
    const fn of(scan: *mut pg_sys::PlanState) -> Self {
        Self { scan, parent: std::ptr::null_mut(), side: 0 }
    }

    /// The columns that are looked at, as PostgreSQL numbers attributes in sets, made in the current memory context;
    /// none if that may be all of them.
    pub unsafe fn columns(self) -> Option<*mut pg_sys::Bitmapset> {
        // SAFETY: nodes of the plan that the slot belongs to, which live as long as it.
        unsafe {
            if self.scan.is_null() {
                return None;
            }
            let mut wanted = std::ptr::null_mut();
            if !self.parent.is_null() && !from_above(self.parent, self.side, &mut wanted) {
                return None;
            }
            own_columns(self.scan, &mut wanted);
            Some(wanted)
        }
    }
}

/// Adds what a node looks at of the slot that a scan hands up, if it computes its rows from expressions and keeps no row
/// as it came but to look at the same columns of it; false if it does not.
unsafe fn from_above(
    parent: *mut pg_sys::PlanState,
    side: c_int,
    wanted: &mut *mut pg_sys::Bitmapset,
) -> bool {
    // SAFETY: a node of a plan; the tag says which struct it is.
    unsafe {
        let plan = (*parent).plan;
        let mut add = |list: *mut pg_sys::List| {
            pg_sys::pull_varattnos(list.cast(), side as _, wanted);
        };
        match (*plan).type_ {
            NodeTag::T_Agg | NodeTag::T_Group => {
                // Grouping columns may be in no expression, only in a list of numbers.
                let (count, columns) = if (*plan).type_ == NodeTag::T_Agg {
                    let agg = &*plan.cast::<pg_sys::Agg>();
                    if !agg.groupingSets.is_null() || !agg.chain.is_null() {
                        return false;
                    }
                    (agg.numCols, agg.grpColIdx)
                } else {
                    let group = &*plan.cast::<pg_sys::Group>();
                    (group.numCols, group.grpColIdx)
                };
                add((*plan).targetlist);
                add((*plan).qual);
                for i in 0..count as usize {
                    let column = i32::from(*columns.add(i));
                    let member = column - pg_sys::FirstLowInvalidHeapAttributeNumber;
                    *wanted = pg_sys::bms_add_member(*wanted, member);
                }
            }
            NodeTag::T_HashJoin => {
                let join = &*plan.cast::<pg_sys::HashJoin>();
                add((*plan).targetlist);
                add((*plan).qual);
                add(join.join.joinqual);
                add(join.hashclauses);
                add(join.hashkeys);
            }
            NodeTag::T_MergeJoin => {
                let join = &*plan.cast::<pg_sys::MergeJoin>();
                add((*plan).targetlist);
                add((*plan).qual);
                add(join.join.joinqual);
                add(join.mergeclauses);
            }
            NodeTag::T_NestLoop => {
                let join = &*plan.cast::<pg_sys::NestLoop>();
                add((*plan).targetlist);
                add((*plan).qual);
                add(join.join.joinqual);
                for param in crate::pg::class::nodes(join.nestParams) {
                    let var = (*param.cast::<pg_sys::NestLoopParam>()).paramval;
                    pg_sys::pull_varattnos(var.cast(), side as _, wanted);
                }
            }
            _ => return false,
        }
        true
    }
}

/// Functions that pgrx has no binding for: `executor/executor.h`, `nodes/nodeFuncs.h`.
mod raw {
    use super::*;
    unsafe extern "C-unwind" {
        pub fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, eflags: c_int);
        pub fn standard_ExecutorRun(
            query: *mut pg_sys::QueryDesc,
            direction: pg_sys::ScanDirection::Type,
            count: u64,
            #[cfg(not(feature = "pg18"))] once: bool,
        );
        #[cfg_attr(
            any(feature = "pg16", feature = "pg17", feature = "pg18"),
            link_name = "planstate_tree_walker_impl"
        )]
        pub fn planstate_tree_walker(
            state: *mut pg_sys::PlanState,
            walker: Option<
                unsafe extern "C-unwind" fn(*mut pg_sys::PlanState, *mut core::ffi::c_void) -> bool,
            >,
            context: *mut core::ffi::c_void,
        ) -> bool;
    }
}
