import type { CancellationToken, Event } from "vscode";
import type {
  ApplyEditsParams,
  ApplyEditsResult,
  FileChangedParams,
  ScanParams,
  ScanResult,
  SnippetsParams,
  SnippetsResult,
} from "./protocol";

/**
 * What other extensions get as `vscode.extensions.getExtension("ploke.ploke-io").exports`.
 *
 * Requests wait for a server that is starting, and are rejected if none runs. What fails within a request (a stale guard,
 * a missing file) is told in its result.
 */
export interface PlokeApi {
  readonly version: 1;
  snippets(params: SnippetsParams, token?: CancellationToken): Promise<SnippetsResult>;
  scan(params: ScanParams, token?: CancellationToken): Promise<ScanResult>;
  /** Nobody is asked: give `label`, which is shown beside the changes, and `dryRun` to look first. */
  applyEdits(params: ApplyEditsParams, token?: CancellationToken): Promise<ApplyEditsResult>;
  readonly onFileChanged: Event<FileChangedParams>;
}
