import type { ScannedFile } from "./protocol";

/** A hash no file has: what is expected of a file that is not known yet. */
export const UNKNOWN_HASH = "0".repeat(64);

/** Content hashes by URI. */
export type KnownHashes = Record<string, string>;

export interface ScanReport {
  files: number;
  /** What the next scan compares with. */
  known: KnownHashes;
  changed: string[];
  added: string[];
  missing: string[];
  failed: { uri: string; message: string }[];
}

/** Compares what a scan answered with the hashes that were known before it. */
export function reportOf(before: KnownHashes, scanned: readonly ScannedFile[]): ScanReport {
  const report: ScanReport = { files: scanned.length, known: {}, changed: [], added: [], missing: [], failed: [] };
  for (const file of scanned) {
    const old = before[file.uri];
    if (file.status === "error") {
      report.failed.push({ uri: file.uri, message: file.error.message });
      if (old !== undefined) {
        report.known[file.uri] = old;
      }
      continue;
    }
    if (file.status === "missing" || file.new === undefined) {
      report.missing.push(file.uri);
      continue;
    }
    report.known[file.uri] = file.new.contentHash;
    if (old === undefined) {
      report.added.push(file.uri);
    } else if (file.status !== "unchanged") {
      report.changed.push(file.uri);
    }
  }
  return report;
}

/** One sentence for people. */
export function summaryOf(report: ScanReport, isFirst: boolean): string {
  const files = report.files === 1 ? "1 file" : `${report.files} files`;
  const failed = report.failed.length === 0 ? "" : `, ${report.failed.length} not readable`;
  if (isFirst) {
    return `Scanned ${files}${failed}; the next scan tells what has changed.`;
  }
  const counts = `${report.changed.length} changed, ${report.added.length} new, ${report.missing.length} missing`;
  return `Scanned ${files} since the last scan: ${counts}${failed}.`;
}
