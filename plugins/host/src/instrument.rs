//! Gas and stack counters, written into the module itself, so that every engine stops at the same instruction.
//!
//! Takes a [`Valid`] module, gives one with two exported globals: `tally_gas` (i64) and `tally_stack` (i32), what
//! remains of each. Gas is taken at the head of each straight run of instructions, for all of it; memory instructions
//! also pay for their length. A function takes its frame from the stack counter and gives it back; one that calls
//! nothing only looks. Whatever runs out leaves a negative value in its global and executes `unreachable`; memory that
//! may not grow leaves the smallest gas value. Custom sections are left out. Nothing fails that the validator let through.

use wasm_encoder::reencode::{Reencode, RoundtripReencoder, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, ImportSection, InstructionSink, MemorySection, MemoryType,
    Module, TableSection, TypeSection, ValType,
};
use wasmparser::{
    FuncValidator, FuncValidatorAllocations, FunctionBody, Operator, Parser, Payload, ValidPayload, Validator,
    ValidatorResources,
};

use crate::abi::{GAS_GLOBAL, LINKER_EXPORTS, STACK_GLOBAL};
use crate::error::{ModuleError, Refusal};
use crate::gas::{BULK_SHIFT, FUNCTION_ENTRY, GROW_PAGE, frame_units, price};
use crate::limits::Limits;
use crate::validate::{FEATURES, Valid, invalid};

/// What the gas global holds after memory was to grow beyond its limit.
pub const GAS_MEMORY_EXCEEDED: i64 = i64::MIN;

/// Writes the counters into a module.
///
/// # Errors
/// None for what [`validate`](crate::validate::validate) gave; the readers' and writers' own are passed on.
pub fn instrument(module: &Valid<'_>, limits: &Limits) -> Result<Vec<u8>, ModuleError> {
    let mut rewriter = Rewriter::new(module, limits);
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    for payload in parser.parse_all(module.wasm) {
        let payload = payload.map_err(invalid)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(invalid)? {
            let mut function = function.into_validator(core::mem::take(&mut allocations));
            rewriter.function(&mut function, &body)?;
            allocations = function.into_allocations();
        } else {
            rewriter.section(payload)?;
        }
    }
    Ok(rewriter.finish())
}

/// Both counters' places, and what the host sets them to is none of this file's.
#[derive(Clone, Copy)]
struct Counters {
    gas: u32,
    stack: u32,
}

struct Rewriter<'l> {
    limits: &'l Limits,
    counters: Counters,
    types: TypeSection,
    /// For a type of several results: the type of a block that gives them.
    block_types: Vec<BlockType>,
    imports: ImportSection,
    functions: FunctionSection,
    function_types: Vec<u32>,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    data_count: Option<u32>,
    code: CodeSection,
    data: DataSection,
    written: usize,
}

impl<'l> Rewriter<'l> {
    fn new(module: &Valid<'_>, limits: &'l Limits) -> Self {
        Self {
            limits,
            counters: Counters { gas: module.globals, stack: module.globals + 1 },
            types: TypeSection::new(),
            block_types: Vec::new(),
            imports: ImportSection::new(),
            functions: FunctionSection::new(),
            function_types: Vec::new(),
            tables: TableSection::new(),
            memories: MemorySection::new(),
            globals: GlobalSection::new(),
            exports: ExportSection::new(),
            elements: ElementSection::new(),
            data_count: None,
            code: CodeSection::new(),
            data: DataSection::new(),
            written: 0,
        }
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), ModuleError> {
        let same = &mut RoundtripReencoder;
        match payload {
            Payload::TypeSection(section) => self.types(section),
            Payload::ImportSection(s) => utils::parse_import_section(same, &mut self.imports, s).map_err(rewriting),
            Payload::FunctionSection(section) => {
                for ty in section.clone() {
                    self.function_types.push(ty.map_err(invalid)?);
                }
                utils::parse_function_section(same, &mut self.functions, section).map_err(rewriting)
            }
            Payload::TableSection(s) => utils::parse_table_section(same, &mut self.tables, s).map_err(rewriting),
            Payload::MemorySection(section) => self.memories(section),
            Payload::GlobalSection(s) => utils::parse_global_section(same, &mut self.globals, s).map_err(rewriting),
            Payload::ExportSection(section) => self.exports(section),
            Payload::ElementSection(s) => utils::parse_element_section(same, &mut self.elements, s).map_err(rewriting),
            Payload::DataCountSection { count, .. } => {
                self.data_count = Some(count);
                Ok(())
            }
            Payload::DataSection(s) => utils::parse_data_section(same, &mut self.data, s).map_err(rewriting),
            _ => Ok(()),
        }
    }

    /// The module's types, and behind them one for each that gives several results: the type of its wrapping block.
    fn types(&mut self, section: wasmparser::TypeSectionReader<'_>) -> Result<(), ModuleError> {
        let mut several = Vec::new();
        for ty in section.into_iter_err_on_gc_types() {
            let ty = ty.map_err(invalid)?;
            let params = types_of(ty.params())?;
            let results = types_of(ty.results())?;
            self.block_types.push(match results.as_slice() {
                [] => BlockType::Empty,
                [one] => BlockType::Result(*one),
                _ => BlockType::FunctionType(u32::MAX),
            });
            several.push((results.len() > 1).then(|| results.clone()));
            self.types.ty().function(params, results);
        }
        for (block_type, results) in self.block_types.iter_mut().zip(several) {
            if let Some(results) = results {
                *block_type = BlockType::FunctionType(self.types.len());
                self.types.ty().function([], results);
            }
        }
        Ok(())
    }

    /// The one memory: its maximum is the limit, or less where the module itself says less.
    fn memories(&mut self, section: wasmparser::MemorySectionReader<'_>) -> Result<(), ModuleError> {
        for memory in section {
            let memory = memory.map_err(invalid)?;
            let limit = self.limits.memory_pages;
            self.memories.memory(MemoryType {
                minimum: memory.initial,
                maximum: Some(memory.maximum.map_or(limit, |own| own.min(limit))),
                memory64: false,
                shared: false,
                page_size_log2: None,
            });
        }
        Ok(())
    }

    fn exports(&mut self, section: wasmparser::ExportSectionReader<'_>) -> Result<(), ModuleError> {
        let same = &mut RoundtripReencoder;
        for export in section {
            let export = export.map_err(invalid)?;
            if !LINKER_EXPORTS.contains(&export.name) {
                utils::parse_export(same, &mut self.exports, export).map_err(rewriting)?;
            }
        }
        Ok(())
    }

    fn function(
        &mut self,
        validator: &mut FuncValidator<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), ModuleError> {
        let plan = Plan::of(validator, body)?;
        let results = self
            .function_types
            .get(self.written)
            .and_then(|ty| self.block_types.get(usize::try_from(*ty).ok()?))
            .copied()
            .unwrap_or(BlockType::Empty);
        self.written += 1;
        let writer = FunctionWriter { plan: &plan, results, counters: self.counters };
        self.code.function(&writer.write(body)?);
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        let mutable = |val_type| GlobalType { val_type, mutable: true, shared: false };
        self.globals.global(mutable(ValType::I64), &ConstExpr::i64_const(0));
        self.globals.global(mutable(ValType::I32), &ConstExpr::i32_const(0));
        self.exports.export(GAS_GLOBAL, ExportKind::Global, self.counters.gas);
        self.exports.export(STACK_GLOBAL, ExportKind::Global, self.counters.stack);
        let mut module = Module::new();
        module.section(&self.types);
        if !self.imports.is_empty() {
            module.section(&self.imports);
        }
        module.section(&self.functions);
        if !self.tables.is_empty() {
            module.section(&self.tables);
        }
        module.section(&self.memories).section(&self.globals).section(&self.exports);
        if !self.elements.is_empty() {
            module.section(&self.elements);
        }
        if let Some(count) = self.data_count {
            module.section(&DataCountSection { count });
        }
        module.section(&self.code);
        if !self.data.is_empty() {
            module.section(&self.data);
        }
        module.finish()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn rewriting<E: core::fmt::Debug>(error: wasm_encoder::reencode::Error<E>) -> ModuleError {
    ModuleError { refusal: Refusal::Invalid(format!("cannot be rewritten: {error:?}")), at: 0 }
}

fn types_of(types: &[wasmparser::ValType]) -> Result<Vec<ValType>, ModuleError> {
    types.iter().map(|ty| RoundtripReencoder.val_type(*ty).map_err(rewriting)).collect()
}

/// What is to be written into a function, from one look at it.
struct Plan {
    /// Gas to take before the instruction of this number.
    charges: Vec<u64>,
    /// Whether the instruction of this number can be reached.
    live: Vec<bool>,
    calls: bool,
    bulk: bool,
    locals: u32,
    frame_units: u32,
}

/// A block being read.
struct Label {
    kind: LabelKind,
    /// It stands in code that cannot be reached.
    dead: bool,
    /// A branch goes to its end.
    targeted: bool,
    /// The first arm of an `if` falls out of it.
    first_arm_falls: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LabelKind {
    Block,
    Loop,
    If,
    Else,
}

impl Plan {
    fn of(validator: &mut FuncValidator<ValidatorResources>, body: &FunctionBody<'_>) -> Result<Self, ModuleError> {
        let mut locals_reader = body.get_binary_reader();
        validator.read_locals(&mut locals_reader).map_err(invalid)?;
        let mut declared = 0_u64;
        for group in body.get_locals_reader().map_err(invalid)? {
            declared += u64::from(group.map_err(invalid)?.0);
        }
        let mut runs = Runs::new(FUNCTION_ENTRY + declared);
        let (mut operands, mut calls, mut bulk) = (0, false, false);
        let mut reader = body.get_operators_reader().map_err(invalid)?;
        while !reader.eof() {
            let at = reader.original_position();
            let operator = reader.read().map_err(invalid)?;
            validator.op(at, &operator).map_err(invalid)?;
            operands = operands.max(validator.operand_stack_height());
            if runs.step(&operator) {
                calls |= matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. });
                bulk |= by_length(&operator);
            }
        }
        let locals = validator.len_locals();
        let frame_units = frame_units(locals, operands);
        Ok(Self { charges: runs.charges, live: runs.live, calls, bulk, locals, frame_units })
    }
}

const fn by_length(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::MemoryGrow { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
    )
}

/// Straight runs of instructions: each is entered at its head only, and left at its end or by a trap.
struct Runs {
    charges: Vec<u64>,
    live: Vec<bool>,
    /// The number of the first instruction of the run at hand; none in code that cannot be reached.
    open: Option<usize>,
    labels: Vec<Label>,
}

impl Runs {
    fn new(entry: u64) -> Self {
        let function = Label { kind: LabelKind::Block, dead: false, targeted: false, first_arm_falls: false };
        Self { charges: vec![entry], live: Vec::new(), open: Some(0), labels: vec![function] }
    }

    /// Takes the next instruction; says whether it can be reached.
    fn step(&mut self, operator: &Operator<'_>) -> bool {
        let next = self.live.len() + 1;
        self.charges.push(0);
        let live = self.open.is_some();
        self.live.push(live);
        if let Some(charge) = self.open.and_then(|open| self.charges.get_mut(open)) {
            *charge = charge.saturating_add(price(operator));
        }
        match operator {
            Operator::Block { .. } => self.enter(LabelKind::Block),
            Operator::Loop { .. } => {
                self.enter(LabelKind::Loop);
                self.open = live.then_some(next);
            }
            Operator::If { .. } => {
                self.enter(LabelKind::If);
                self.open = live.then_some(next);
            }
            Operator::Else => {
                if let Some(label) = self.labels.last_mut() {
                    label.kind = LabelKind::Else;
                    label.first_arm_falls = live;
                    self.open = (!label.dead).then_some(next);
                }
            }
            Operator::End => self.leave(live, next),
            Operator::Br { relative_depth } => {
                self.target(*relative_depth, live);
                self.open = None;
            }
            Operator::BrIf { relative_depth } => {
                self.target(*relative_depth, live);
                self.open = live.then_some(next);
            }
            Operator::BrTable { targets } => {
                for depth in targets.targets().flatten().chain([targets.default()]) {
                    self.target(depth, live);
                }
                self.open = None;
            }
            Operator::Return | Operator::Unreachable => self.open = None,
            _ => {}
        }
        live
    }

    fn enter(&mut self, kind: LabelKind) {
        let dead = self.open.is_none();
        self.labels.push(Label { kind, dead, targeted: false, first_arm_falls: false });
    }

    fn leave(&mut self, falls: bool, next: usize) {
        let Some(label) = self.labels.pop() else { return };
        if label.dead {
            return;
        }
        match label.kind {
            // Only its head can be branched to: behind its end stands who fell out of it.
            LabelKind::Loop => {}
            LabelKind::Block if !label.targeted => {}
            LabelKind::Block => self.open = Some(next),
            LabelKind::If => self.open = Some(next),
            LabelKind::Else => {
                self.open = (falls || label.targeted || label.first_arm_falls).then_some(next);
            }
        }
    }

    fn target(&mut self, depth: u32, live: bool) {
        let place = usize::try_from(depth).ok().and_then(|depth| self.labels.len().checked_sub(depth + 1));
        if let Some(label) = place.and_then(|place| self.labels.get_mut(place)).filter(|_| live) {
            label.targeted = true;
        }
    }
}

struct FunctionWriter<'p> {
    plan: &'p Plan,
    results: BlockType,
    counters: Counters,
}

impl FunctionWriter<'_> {
    fn write(&self, body: &FunctionBody<'_>) -> Result<Function, ModuleError> {
        let mut locals = Vec::new();
        for group in body.get_locals_reader().map_err(invalid)? {
            let (count, ty) = group.map_err(invalid)?;
            locals.push((count, RoundtripReencoder.val_type(ty).map_err(rewriting)?));
        }
        locals.push((1, ValType::I64));
        if self.plan.bulk {
            locals.push((1, ValType::I32));
        }
        let mut function = Function::new(locals);
        self.enter(&mut function.instructions());
        let mut depth = 0_u32;
        let mut reader = body.get_operators_reader().map_err(invalid)?;
        let mut number = 0;
        while !reader.eof() {
            let operator = reader.read().map_err(invalid)?;
            self.charge(&mut function.instructions(), self.plan.charges.get(number).copied().unwrap_or(0));
            let live = self.plan.live.get(number).copied().unwrap_or(false);
            number += 1;
            match &operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
                Operator::End if depth == 0 => self.leave(&mut function.instructions()),
                Operator::End => depth -= 1,
                Operator::Return if self.plan.calls => {
                    function.instructions().br(depth);
                    continue;
                }
                _ => {}
            }
            let grows = matches!(operator, Operator::MemoryGrow { .. });
            if live && by_length(&operator) {
                self.charge_length(&mut function.instructions(), grows);
            }
            function.instruction(&RoundtripReencoder.instruction(operator).map_err(rewriting)?);
            if live && grows {
                self.check_growth(&mut function.instructions());
            }
        }
        Ok(function)
    }

    /// Takes the frame. A function that calls nothing only looks whether there would be room.
    fn enter(&self, sink: &mut InstructionSink<'_>) {
        let stack = self.counters.stack;
        let units = self.plan.frame_units.cast_signed();
        if self.plan.calls {
            sink.global_get(stack).i32_const(units).i32_sub().global_set(stack);
            sink.global_get(stack).i32_const(0).i32_lt_s().if_(BlockType::Empty).unreachable().end();
            sink.block(self.results);
        } else {
            sink.global_get(stack).i32_const(units).i32_lt_s().if_(BlockType::Empty);
            sink.i32_const(-1).global_set(stack).unreachable().end();
        }
    }

    /// Gives the frame back: every way out of the body leads through the end of the block around it.
    fn leave(&self, sink: &mut InstructionSink<'_>) {
        if self.plan.calls {
            let stack = self.counters.stack;
            let units = self.plan.frame_units.cast_signed();
            sink.end().global_get(stack).i32_const(units).i32_add().global_set(stack);
        }
    }

    fn charge(&self, sink: &mut InstructionSink<'_>, gas: u64) {
        if gas > 0 {
            sink.global_get(self.counters.gas).i64_const(gas.cast_signed()).i64_sub();
            self.take(sink);
        }
    }

    /// Stores the gas on the stack; ends the guest when it is negative.
    fn take(&self, sink: &mut InstructionSink<'_>) {
        let scratch = self.plan.locals;
        sink.local_tee(scratch).global_set(self.counters.gas);
        sink.local_get(scratch).i64_const(0).i64_lt_s().if_(BlockType::Empty).unreachable().end();
    }

    /// Charges for the length on top of the stack, and leaves it there.
    fn charge_length(&self, sink: &mut InstructionSink<'_>, grows: bool) {
        let length = self.plan.locals + 1;
        sink.local_set(length).global_get(self.counters.gas).local_get(length);
        if grows {
            sink.i64_extend_i32_u().i64_const(GROW_PAGE.cast_signed()).i64_mul();
        } else {
            sink.i32_const(BULK_SHIFT.cast_signed()).i32_shr_u().i64_extend_i32_u();
        }
        sink.i64_sub();
        self.take(sink);
        sink.local_get(length);
    }

    /// Ends the guest when memory did not grow: no guest sees a failure that its engine might decide about.
    fn check_growth(&self, sink: &mut InstructionSink<'_>) {
        let result = self.plan.locals + 1;
        sink.local_tee(result).i32_const(-1).i32_eq().if_(BlockType::Empty);
        sink.i64_const(GAS_MEMORY_EXCEEDED).global_set(self.counters.gas).unreachable().end();
        sink.local_get(result);
    }
}
