"""An import-linter contract: a package imports nothing but what is named (and the standard library).

The built-in contracts can forbid; this one allows, so that a new dependency is refused until someone decides on it.
"""

from __future__ import annotations

import sys
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.domain.imports import Module


class OnlyImports(Contract):
    """`source`: the package. `allowed`: modules it may import, each with everything below it."""

    source = fields.ModuleField()
    allowed = fields.ListField(subfield=fields.ModuleField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        del verbose
        source: Module = self.source  # type: ignore[assignment]  # fields turn into their values on the instance
        allowed: list[Module] = self.allowed  # type: ignore[assignment]  # as above
        names = [module.name for module in allowed]
        offences: list[str] = []
        for importer in sorted({source.name, *graph.find_descendants(source.name)}):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                inside = any(imported == name or imported.startswith(name + ".") for name in names)
                if not inside and imported.partition(".")[0] not in sys.stdlib_module_names:
                    offences.append(f"{importer} imports {imported}")
        return ContractCheck(kept=not offences, metadata={"offences": offences})

    def render_broken_contract(self, check: Any) -> None:
        for offence in check.metadata["offences"]:
            output.print_error(offence)
