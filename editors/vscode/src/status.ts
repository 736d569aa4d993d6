import type { StatusResult } from "./protocol";

/** The whole status as a report for people. */
export function statusReport(status: StatusResult, pid: number | undefined, features: readonly string[]): string {
  const { watch, cache, writes } = status;
  const lines = [
    `ploke-io ${status.version}, process ${pid ?? "unknown"}, up ${duration(status.uptimeMs)}`,
    "",
    "Roots",
    ...status.roots.map((root) => `  ${root}`),
    "",
    "Watching",
    `  ${watch.state}${watch.backend === null ? "" : ` (${watch.backend})`}${watch.reason ? `: ${watch.reason}` : ""}`,
    `  ${watch.watches} watches${watch.limit === null ? "" : ` of ${watch.limit}`}, ${watch.pending} changes pending`,
    `  ${watch.overflows} overflows, ${watch.dropped} changes dropped`,
    "",
    "Writes",
    `  ${writes.applied} files, ${bytes(writes.bytes)}`,
    `  after crashes: ${writes.recovered.finished} transactions completed, ${writes.recovered.leftAlone} files left alone`,
    "",
    "Cache of hashes",
    `  ${cache.entries} files, ${bytes(cache.bytes)}, ${cache.hits} hits, ${cache.misses} misses`,
    "",
    "Requests               count  errors   median      99 %",
    ...Object.entries(status.requests).map(
      ([method, stats]) =>
        `  ${method.padEnd(20)}${cell(stats.count)}${cell(stats.errors)}${cell(time(stats.p50Us), 10)}${cell(time(stats.p99Us), 10)}`,
    ),
    "",
    "Understood",
    ...features.map((feature) => `  ${feature}`),
  ];
  return `${lines.join("\n")}\n`;
}

function cell(value: number | string, width = 7): string {
  return String(value).padStart(width);
}

function time(us: number): string {
  return us < 1000 ? `${us} µs` : us < 1_000_000 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1_000_000).toFixed(1)} s`;
}

function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours} h ${minutes} min` : minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function bytes(count: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  const unit = count < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(count) / 10));
  return unit === 0 ? `${count} bytes` : `${(count / 1024 ** unit).toFixed(1)} ${units[unit]}`;
}
