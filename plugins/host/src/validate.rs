//! What a module must look like before anything else is done with it.
//!
//! Takes the bytes an author shipped; gives a [`Valid`], or a named refusal with its place. The bounds are checked from the
//! counts that sections announce, before the validator proper spends memory on them. Features: integers, sign extension,
//! multiple values, mutable globals, bulk memory; everything else is off, floats included.
//! After it, instantiation cannot fail for the module's sake: segments lie within their memory or table.

use std::collections::BTreeSet;

use wasmparser::{
    DataKind, ElementItems, ElementKind, ExternalKind, FuncToValidate, FuncType, FuncValidatorAllocations,
    FunctionBody, Operator, Parser, Payload, RefType, TypeRef, ValType, ValidPayload, Validator, ValidatorResources,
    WasmFeatures,
};

use crate::abi::{EXPORT_MEMORY, EXPORTS, IMPORT_MODULE, IMPORTS, LINKER_EXPORTS, Signature};
use crate::error::{ModuleError, Refusal};
use crate::gas::frame_units;
use crate::limits::{Limits, SHAPE};

/// The features of the profile. `CALL_INDIRECT_OVERLONG` is a spelling that linkers leave, not a feature.
pub const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG);

/// A module that may be instrumented, and what the instrumenter needs of it.
#[derive(Debug, Clone)]
pub struct Valid<'a> {
    pub(crate) wasm: &'a [u8],
    pub(crate) memory_pages: u64,
    pub(crate) globals: u32,
    pub(crate) functions: u32,
    pub(crate) imports: Vec<&'static str>,
}

impl Valid<'_> {
    /// Functions of its own.
    #[must_use]
    pub const fn functions(&self) -> u32 {
        self.functions
    }

    /// The host functions it imports, in its order.
    #[must_use]
    pub fn imports(&self) -> &[&'static str] {
        &self.imports
    }

    /// The pages its memory starts with.
    #[must_use]
    pub const fn memory_pages(&self) -> u64 {
        self.memory_pages
    }
}

/// Holds a module against the contract and the profile.
///
/// # Errors
/// The first thing that is not allowed, with its place.
pub fn validate<'a>(wasm: &'a [u8], limits: &Limits) -> Result<Valid<'a>, ModuleError> {
    if wasm.len() > SHAPE.module_bytes {
        return refuse(Refusal::ModuleBytes { bytes: wasm.len(), max: SHAPE.module_bytes }, 0);
    }
    let mut pass = Pass::new(limits);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    for payload in parser.parse_all(wasm) {
        let payload = payload.map_err(invalid)?;
        pass.bounds(&payload)?;
        match pass.validator.payload(&payload).map_err(invalid)? {
            ValidPayload::Func(function, body) => pass.function(function, &body)?,
            ValidPayload::Ok | ValidPayload::Parser(_) | ValidPayload::End(_) => {}
        }
        pass.contract(&payload)?;
    }
    pass.finish(wasm)
}

/// Holds an instrumented module against the features alone: the second look, before an engine sees it.
///
/// # Errors
/// The instrumenter wrote what is not valid.
pub fn validate_again(wasm: &[u8]) -> Result<(), ModuleError> {
    Validator::new_with_features(FEATURES).validate_all(wasm).map(|_| ()).map_err(invalid)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
pub(crate) fn invalid(error: wasmparser::Error) -> ModuleError {
    ModuleError { refusal: Refusal::Invalid(error.message().to_owned()), at: error.offset() }
}

const fn refuse<T>(refusal: Refusal, at: usize) -> Result<T, ModuleError> {
    Err(ModuleError { refusal, at })
}

fn at_most(what: &'static str, count: u64, max: u64, at: usize) -> Result<(), ModuleError> {
    if count > max { refuse(Refusal::TooMany { what, count, max }, at) } else { Ok(()) }
}

struct Pass<'l> {
    limits: &'l Limits,
    validator: Validator,
    allocations: Option<FuncValidatorAllocations>,
    types: Vec<FuncType>,
    imports: Vec<&'static str>,
    import_types: Vec<u32>,
    function_types: Vec<u32>,
    globals: u32,
    memory: Option<u64>,
    table_entries: Option<u64>,
    exported: BTreeSet<&'static str>,
    end: usize,
}

impl<'l> Pass<'l> {
    fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            validator: Validator::new_with_features(FEATURES),
            allocations: None,
            types: Vec::new(),
            imports: Vec::new(),
            import_types: Vec::new(),
            function_types: Vec::new(),
            globals: 0,
            memory: None,
            table_entries: None,
            exported: BTreeSet::new(),
            end: 0,
        }
    }

    /// The bounds that can be checked from what a section announces.
    fn bounds(&self, payload: &Payload<'_>) -> Result<(), ModuleError> {
        let (what, count, max, at) = match payload {
            Payload::Version { encoding, range, .. } => {
                let module = matches!(encoding, wasmparser::Encoding::Module);
                return if module { Ok(()) } else { refuse(Refusal::NotACoreModule, range.start) };
            }
            Payload::TypeSection(s) => ("types", s.count(), SHAPE.types, s.range().start),
            Payload::ImportSection(s) => ("imports", s.count(), u32_of(IMPORTS.len()), s.range().start),
            Payload::FunctionSection(s) => ("functions", s.count(), SHAPE.functions, s.range().start),
            Payload::CodeSectionStart { count, range, .. } => ("functions", *count, SHAPE.functions, range.start),
            Payload::GlobalSection(s) => ("globals", s.count(), SHAPE.globals, s.range().start),
            Payload::ExportSection(s) => {
                ("exports", s.count(), u32_of(EXPORTS.len() + 1 + LINKER_EXPORTS.len()), s.range().start)
            }
            Payload::ElementSection(s) => ("element segments", s.count(), SHAPE.elements, s.range().start),
            Payload::DataSection(s) => ("data segments", s.count(), SHAPE.data, s.range().start),
            Payload::DataCountSection { count, range } => ("data segments", *count, SHAPE.data, range.start),
            Payload::MemorySection(s) if s.count() != 1 => return refuse(Refusal::Memories, s.range().start),
            Payload::TableSection(s) if s.count() > 1 => return refuse(Refusal::Tables, s.range().start),
            Payload::StartSection { range, .. } => return refuse(Refusal::Start, range.start),
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                return at_most("bytes of a function", u64_of(range.len()), u64_of(SHAPE.body_bytes), range.start);
            }
            _ => return Ok(()),
        };
        at_most(what, count.into(), max.into(), at)
    }

    /// The contract, on a section that the validator found valid.
    fn contract(&mut self, payload: &Payload<'_>) -> Result<(), ModuleError> {
        match payload {
            Payload::TypeSection(section) => {
                let at = section.range().start;
                for ty in section.clone().into_iter_err_on_gc_types() {
                    let ty = ty.map_err(invalid)?;
                    at_most("parameters", u64_of(ty.params().len()), u64_of(SHAPE.params), at)?;
                    at_most("results", u64_of(ty.results().len()), u64_of(SHAPE.results), at)?;
                    self.types.push(ty);
                }
                Ok(())
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports_with_offsets() {
                    let (at, import) = import.map_err(invalid)?;
                    self.import(import.module, import.name, import.ty, at)?;
                }
                Ok(())
            }
            Payload::FunctionSection(section) => {
                for ty in section.clone() {
                    self.function_types.push(ty.map_err(invalid)?);
                }
                Ok(())
            }
            Payload::GlobalSection(section) => {
                self.globals = section.count();
                Ok(())
            }
            Payload::TableSection(section) => {
                for table in section.clone().into_iter_with_offsets() {
                    let (at, table) = table.map_err(invalid)?;
                    if table.ty.maximum != Some(table.ty.initial) || table.ty.element_type != RefType::FUNCREF {
                        return refuse(Refusal::TableGrows, at);
                    }
                    at_most("table entries", table.ty.initial, SHAPE.table_entries, at)?;
                    self.table_entries = Some(table.ty.initial);
                }
                Ok(())
            }
            Payload::MemorySection(section) => {
                for memory in section.clone().into_iter_with_offsets() {
                    let (at, memory) = memory.map_err(invalid)?;
                    if memory.initial > self.limits.memory_pages {
                        let (pages, max) = (memory.initial, self.limits.memory_pages);
                        return refuse(Refusal::MemoryPages { pages, max }, at);
                    }
                    self.memory = Some(memory.initial);
                }
                Ok(())
            }
            Payload::ExportSection(section) => {
                for (number, export) in (0..).zip(section.clone().into_iter_with_offsets()) {
                    let (at, export) = export.map_err(invalid)?;
                    self.export(number, export.name, export.kind, export.index, at)?;
                }
                Ok(())
            }
            Payload::ElementSection(section) => {
                for (number, element) in (0..).zip(section.clone().into_iter_with_offsets()) {
                    let (at, element) = element.map_err(invalid)?;
                    self.element(number, &element, at)?;
                }
                Ok(())
            }
            Payload::DataSection(section) => {
                for (number, data) in (0..).zip(section.clone().into_iter_with_offsets()) {
                    let (at, data) = data.map_err(invalid)?;
                    if let DataKind::Active { offset_expr, .. } = &data.kind {
                        let bytes = self.memory.unwrap_or(0) * crate::limits::PAGE_BYTES;
                        within(number, offset_expr, u64_of(data.data.len()), bytes, at)?;
                    }
                }
                Ok(())
            }
            Payload::End(at) => {
                self.end = *at;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn import(&mut self, module: &str, name: &str, ty: TypeRef, at: usize) -> Result<(), ModuleError> {
        let import = u32_of(self.imports.len());
        if module != IMPORT_MODULE {
            return refuse(Refusal::ForeignImport { import }, at);
        }
        let Some(known) = IMPORTS.iter().find(|known| known.name == name) else {
            return refuse(Refusal::UnknownImport { import }, at);
        };
        if self.imports.contains(&known.name) {
            return refuse(Refusal::ImportTwice { import }, at);
        }
        let TypeRef::Func(ty) = ty else {
            return refuse(Refusal::ImportSignature { import }, at);
        };
        if !self.has_signature(ty, known) {
            return refuse(Refusal::ImportSignature { import }, at);
        }
        self.imports.push(known.name);
        self.import_types.push(ty);
        Ok(())
    }

    fn has_signature(&self, ty: u32, signature: &Signature) -> bool {
        let all_i32 = |types: &[ValType], count| types.len() == count && types.iter().all(|ty| *ty == ValType::I32);
        self.types
            .get(usize_of(ty))
            .is_some_and(|ty| all_i32(ty.params(), signature.params) && all_i32(ty.results(), signature.results))
    }

    fn export(
        &mut self,
        number: u32,
        name: &str,
        kind: ExternalKind,
        index: u32,
        at: usize,
    ) -> Result<(), ModuleError> {
        if name == EXPORT_MEMORY {
            self.exported.insert(EXPORT_MEMORY);
            let is_memory = kind == ExternalKind::Memory;
            return if is_memory { Ok(()) } else { refuse(Refusal::ExportType { name: EXPORT_MEMORY }, at) };
        }
        if LINKER_EXPORTS.contains(&name) && kind == ExternalKind::Global {
            return Ok(());
        }
        let Some(known) = EXPORTS.iter().find(|known| known.name == name) else {
            return refuse(Refusal::UnknownExport { export: number }, at);
        };
        let function = self.import_types.iter().chain(&self.function_types).nth(usize_of(index)).copied();
        let fits = kind == ExternalKind::Func && function.is_some_and(|ty| self.has_signature(ty, known));
        if !fits {
            return refuse(Refusal::ExportType { name: known.name }, at);
        }
        self.exported.insert(known.name);
        Ok(())
    }

    fn element(&self, number: u32, element: &wasmparser::Element<'_>, at: usize) -> Result<(), ModuleError> {
        let ElementKind::Active { offset_expr, .. } = &element.kind else {
            return refuse(Refusal::ElementKind { segment: number }, at);
        };
        let ElementItems::Functions(functions) = &element.items else {
            return refuse(Refusal::ElementKind { segment: number }, at);
        };
        within(number, offset_expr, functions.count().into(), self.table_entries.unwrap_or(0), at)
    }

    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), ModuleError> {
        let start = body.range().start;
        let mut declared = 0_u64;
        for group in body.get_locals_reader().map_err(invalid)? {
            declared = declared.saturating_add(group.map_err(invalid)?.0.into());
            at_most("locals", declared, SHAPE.locals.into(), start)?;
        }
        let mut validator = function.into_validator(self.allocations.take().unwrap_or_default());
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader).map_err(invalid)?;
        at_most("locals", validator.len_locals().into(), SHAPE.locals.into(), start)?;
        let mut operands = 0;
        let mut operators = body.get_operators_reader().map_err(invalid)?;
        while !operators.eof() {
            let at = operators.original_position();
            let operator = operators.read().map_err(invalid)?;
            allowed(&operator, at)?;
            validator.op(at, &operator).map_err(invalid)?;
            operands = operands.max(validator.operand_stack_height());
            at_most("blocks within blocks", validator.control_stack_height().into(), SHAPE.nesting.into(), at)?;
        }
        operators.finish().map_err(invalid)?;
        let units = frame_units(validator.len_locals(), operands);
        at_most("stack units of a frame", units.into(), SHAPE.frame_units.into(), start)?;
        self.allocations = Some(validator.into_allocations());
        Ok(())
    }

    fn finish(self, wasm: &[u8]) -> Result<Valid<'_>, ModuleError> {
        let Some(memory_pages) = self.memory else {
            return refuse(Refusal::Memories, self.end);
        };
        let names = core::iter::once(EXPORT_MEMORY).chain(EXPORTS.iter().map(|known| known.name));
        for name in names {
            if !self.exported.contains(name) {
                return refuse(Refusal::ExportMissing { name }, self.end);
            }
        }
        Ok(Valid {
            wasm,
            memory_pages,
            globals: self.globals,
            functions: u32_of(self.function_types.len()),
            imports: self.imports,
        })
    }
}

fn allowed(operator: &Operator<'_>, at: usize) -> Result<(), ModuleError> {
    match operator {
        Operator::TableInit { .. } | Operator::TableCopy { .. } | Operator::ElemDrop { .. } => {
            refuse(Refusal::TableInstruction, at)
        }
        Operator::BrTable { targets } => {
            at_most("targets of a br_table", targets.len().into(), SHAPE.br_table.into(), at)
        }
        _ => Ok(()),
    }
}

/// A segment placed by a constant, and all of it inside.
fn within(
    segment: u32,
    offset: &wasmparser::ConstExpr<'_>,
    length: u64,
    size: u64,
    at: usize,
) -> Result<(), ModuleError> {
    let mut operators = offset.get_operators_reader();
    let start = match operators.read().map_err(invalid)? {
        Operator::I32Const { value } => u64::from(value.cast_unsigned()),
        _ => return refuse(Refusal::SegmentBounds { segment }, at),
    };
    if start.saturating_add(length) > size { refuse(Refusal::SegmentBounds { segment }, at) } else { Ok(()) }
}

fn u32_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn u64_of(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn usize_of(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
