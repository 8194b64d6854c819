import {
  createSortedRowModel,
  rowSortingFeature,
  sortFn_alphanumeric,
  sortFn_text,
  tableFeatures,
  useTable,
  type ColumnDef,
} from '@tanstack/react-table';
import { ArrowDown, ArrowUp } from 'lucide-react';
import type { ReactNode } from 'react';

import { cx } from './cx';
import { Skeleton } from './Skeleton';

export const tableParts = tableFeatures({
  rowSortingFeature,
  sortedRowModel: createSortedRowModel(),
  sortFns: { text: sortFn_text, alphanumeric: sortFn_alphanumeric },
});

/** `numeric` columns stand right-aligned in tabular figures; `from` names the width from which a column is shown. */
export interface ColumnLook {
  numeric?: boolean;
  from?: 'sm' | 'md' | 'lg' | 'xl';
}
export type Column<T extends { id: string }> = ColumnDef<typeof tableParts, T> & {
  look?: ColumnLook;
};

const FROM = {
  sm: 'max-sm:hidden',
  md: 'max-md:hidden',
  lg: 'max-lg:hidden',
  xl: 'max-xl:hidden',
} as const;

const ARIA_SORT = { asc: 'ascending', desc: 'descending' } as const;

/** A sortable table with its loading state; `empty` stands in place of the rows when there are none. */
export function DataTable<T extends { id: string }>({
  caption,
  columns,
  rows,
  loadingRows = 5,
  empty,
}: {
  caption: string;
  columns: readonly Column<T>[];
  /** undefined while the first answer is on its way. */
  rows: readonly T[] | undefined;
  loadingRows?: number;
  empty: ReactNode;
}) {
  const table = useTable({
    features: tableParts,
    columns,
    data: rows ?? (NONE as readonly T[]),
    getRowId: (row) => row.id,
  });
  const lookOf = (columnDef: object): ColumnLook => (columnDef as Column<T>).look ?? {};
  const cellClass = (look: ColumnLook) =>
    cx('px-3 first:pl-4 last:pr-4', look.numeric && 'text-right tabular', look.from && FROM[look.from]);

  if (rows?.length === 0) return empty;
  return (
    <div className="overflow-x-auto">
      <table className="w-full border-collapse text-sm" aria-busy={rows === undefined}>
        <caption className="sr-only">{caption}</caption>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id} className="border-y border-line bg-sunken">
              {group.headers.map((header) => {
                const look = lookOf(header.column.columnDef);
                const sorted = header.column.getIsSorted();
                return (
                  <th
                    key={header.id}
                    scope="col"
                    aria-sort={sorted === false ? 'none' : ARIA_SORT[sorted]}
                    className={cx(
                      'h-8 text-left text-xs font-medium whitespace-nowrap text-ink-2',
                      cellClass(look),
                    )}
                  >
                    {header.column.getCanSort() ? (
                      <button
                        type="button"
                        onClick={header.column.getToggleSortingHandler()}
                        className={cx(
                          '-mx-1 inline-flex items-center gap-1 rounded px-1 hover:text-ink [&_svg]:size-3',
                          look.numeric && 'flex-row-reverse',
                        )}
                      >
                        <table.FlexRender header={header} />
                        {sorted === 'asc' && <ArrowUp aria-hidden />}
                        {sorted === 'desc' && <ArrowDown aria-hidden />}
                      </button>
                    ) : (
                      <table.FlexRender header={header} />
                    )}
                  </th>
                );
              })}
            </tr>
          ))}
        </thead>
        <tbody>
          {rows === undefined
            ? Array.from({ length: loadingRows }, (_, at) => (
                <tr key={at} className="h-11 border-b border-line last:border-0">
                  {columns.map((column, cell) => (
                    <td key={cell} className={cellClass(lookOf(column))}>
                      <Skeleton
                        className={cx(cell === 0 ? 'w-36' : 'w-10', lookOf(column).numeric && 'ml-auto')}
                      />
                    </td>
                  ))}
                </tr>
              ))
            : table.getRowModel().rows.map((row) => (
                <tr
                  key={row.id}
                  className="h-11 border-b border-line transition-colors last:border-0 hover:bg-sunken"
                >
                  {row.getAllCells().map((cell) => (
                    <td key={cell.id} className={cellClass(lookOf(cell.column.columnDef))}>
                      <table.FlexRender cell={cell} />
                    </td>
                  ))}
                </tr>
              ))}
        </tbody>
      </table>
    </div>
  );
}

const NONE: readonly { id: string }[] = [];
