--- What happens to files: keeps the changes that the sidecar tells, and the buffers in step with them.
local config = require("ploke.config")
local ui = require("ploke.ui")

local M = {}

--- More changes than these are not kept; the oldest go first.
local KEPT = 1000

---@class ploke.Change
---@field uri string
---@field kind "created"|"modified"|"deleted"|"renamed"
---@field oldUri string?
---@field contentHash string?
---@field directory boolean? it stands for all files that are in it
---@field requestId (integer|string)? of the request of this Neovim that made it
---@field origin string? of the request that made it, by whatever client

---@type { change: ploke.Change, time: integer, root: string }[]
local kept = {}

--- Size and time of a buffer's file when Neovim itself last read or wrote it.
---@type table<integer, string>
local known = {}

---@param path string
---@return string
local function stamp(path)
  local stat = vim.uv.fs_stat(path)
  return stat and ("%d.%d.%d"):format(stat.mtime.sec, stat.mtime.nsec, stat.size) or "gone"
end

vim.api.nvim_create_autocmd({ "BufReadPost", "BufWritePost" }, {
  group = vim.api.nvim_create_augroup("ploke.files", {}),
  desc = "Remember what Neovim itself has read and written",
  callback = function(event)
    known[event.buf] = stamp(vim.api.nvim_buf_get_name(event.buf))
  end,
})

--- Who made a change, in words.
---@param change ploke.Change
---@return string
function M.author(change)
  if change.requestId then
    return "by request " .. change.requestId .. " of this Neovim"
  end
  return change.origin and "by another client of ploke-io" or "from outside"
end

--- The loaded buffers of files, by path; one that reaches its file through a link also by the real path.
---@return table<string, integer>
local function buffers_by_path()
  local buffers = {}
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    local name = vim.api.nvim_buf_get_name(buffer)
    if name ~= "" and vim.bo[buffer].buftype == "" and vim.api.nvim_buf_is_loaded(buffer) then
      buffers[name] = buffer
      -- A file that is gone has no real path of its own any more, but its directory may.
      local directory = vim.uv.fs_realpath(vim.fs.dirname(name))
      local real = vim.uv.fs_realpath(name) or (directory and vim.fs.joinpath(directory, vim.fs.basename(name)))
      if real then
        buffers[real] = buffer
      end
    end
  end
  return buffers
end

--- Reloads a buffer whose file has changed, or says why not.
---@param buffer integer
local function refresh(buffer)
  -- Reloading another one may have run an autocommand that closed it.
  if not vim.api.nvim_buf_is_loaded(buffer) then
    return
  end
  local name = vim.api.nvim_buf_get_name(buffer)
  local now = stamp(name)
  if now == known[buffer] then
    return
  end
  local shown = vim.fn.fnamemodify(name, ":~:.")
  if now == "gone" then
    known[buffer] = now
    ui.warn(shown .. " is gone from disk; its buffer still has the text, :write brings it back")
  elseif vim.bo[buffer].modified then
    known[buffer] = now
    ui.warn(shown .. " has changed on disk, its buffer has unsaved changes: :edit! takes the file, :write! the buffer")
  elseif config.get().refresh then
    known[buffer] = now
    vim.cmd.checktime(buffer)
  end
end

--- Handler of `ploke/fileChanged`.
function M.on_changed(_, params, context)
  params = require("ploke.answer").without_null(params)
  local client = vim.lsp.get_client_by_id(context.client_id)
  local root = client and client.config.root_dir or ""
  local buffers = buffers_by_path()
  --- Refreshes the buffer of a path, or all buffers below it.
  local function refresh_at(path, below)
    for name, buffer in pairs(buffers) do
      if name == path or (below and vim.startswith(name, path .. "/")) then
        refresh(buffer)
      end
    end
  end
  for _, change in ipairs(params.changes) do
    table.insert(kept, { change = change, time = os.time(), root = root })
    for _, uri in ipairs({ change.uri, change.oldUri }) do
      refresh_at(vim.uri_to_fname(uri), change.directory)
    end
    vim.api.nvim_exec_autocmds("User", { pattern = "PlokeFileChanged", modeline = false, data = change })
  end
  while #kept > KEPT do
    table.remove(kept, 1)
  end
  if params.rescan then
    refresh_at(root, true)
    ui.warn("changes of files may have been missed; :Ploke scan finds them")
  end
end

--- The changes below a root that were told since Neovim started, as quickfix items, the newest first.
---@param root string
---@return table[]
function M.quickfix_items(root)
  local items = {}
  for index = #kept, 1, -1 do
    local entry = kept[index]
    if entry.root == root then
      local change = entry.change
      local text = ("%s %s %s"):format(os.date("%H:%M:%S", entry.time), change.kind, M.author(change))
      if change.oldUri then
        text = text .. ", was " .. vim.fn.fnamemodify(vim.uri_to_fname(change.oldUri), ":~:.")
      end
      table.insert(items, { filename = vim.uri_to_fname(change.uri), text = text })
    end
  end
  return items
end

--- Why an edit can not be made in the buffers it is meant for.
---@param edit table a `WorkspaceEdit`
---@param root string
---@return string? reason names paths relative to the root
local function objection(edit, root)
  if edit.changes and next(edit.changes) then
    return "the edit says no versions of its documents"
  end
  for _, change in ipairs(edit.documentChanges or {}) do
    if change.kind then
      return "files are not created, renamed or deleted by the editor"
    end
    local path = vim.uri_to_fname(change.textDocument.uri)
    local shown = vim.startswith(path, root .. "/") and path:sub(#root + 2) or path
    local buffer = vim.fn.bufadd(path)
    if not vim.api.nvim_buf_is_loaded(buffer) then
      return shown .. " is not open"
    elseif not vim.bo[buffer].modifiable then
      return shown .. " is not modifiable"
    elseif change.textDocument.version ~= vim.lsp.util.buf_versions[buffer] then
      return shown .. " has been changed meanwhile"
    end
  end
end

--- Handler of `workspace/applyEdit`: all of the edit or nothing. Neovim's own ignores edits of old versions but
--- answers that they were made.
function M.on_apply_edit(_, params, context)
  local client = assert(vim.lsp.get_client_by_id(context.client_id))
  local reason = objection(params.edit, client.config.root_dir)
  if reason then
    return { applied = false, failureReason = reason }
  end
  local applied, message = pcall(vim.lsp.util.apply_workspace_edit, params.edit, client.offset_encoding)
  if not applied then
    return { applied = false, failureReason = tostring(message) }
  end
  ui.notify((params.label or "an edit") .. " has changed unsaved buffers; they are not written")
  return { applied = true }
end

return M
