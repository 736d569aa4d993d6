--- The Lua API: each function is one request of protocol.md, with its params and its result as they stand there.
---
--- With a callback a function returns at once, and what it returns cancels the request. Without one it must run in a
--- coroutine, waits there, and returns the result, or nil and the error.
local M = {}

---@class ploke.Options
---@field root string? the project; by default that of the current buffer, else of the current directory

---@alias ploke.Callback fun(err: ploke.Error?, result: table?)

--- Origins of the edits that were made from here, by root; the last is the newest.
---@type table<string, string[]>
local origins = {}

---@param root string
---@param method string
---@param params table
---@return table? result
---@return ploke.Error? err
local function await(root, method, params)
  local thread, is_main = coroutine.running()
  if not thread or is_main then
    error("ploke: without a callback this must be called in a coroutine; :help ploke-api", 3)
  end
  local answer, waiting
  require("ploke.client").request(root, method, params, function(err, result)
    answer = { err = err, result = result }
    if waiting then
      local fine, message = coroutine.resume(thread)
      if not fine then
        error(debug.traceback(thread, message), 0)
      end
    end
  end)
  while not answer do
    waiting = true
    coroutine.yield()
  end
  return answer.result, answer.err
end

---@param method string
---@param params table
---@param options (ploke.Options|ploke.Callback)?
---@param callback ploke.Callback?
---@param on_result fun(root: string, result: table)?
local function call(method, params, options, callback, on_result)
  if type(options) == "function" then
    options, callback = nil, options
  end
  local client = require("ploke.client")
  local root = options and options.root and vim.fs.normalize(options.root) or require("ploke.roots").current()
  local function note(result)
    if result and on_result then
      on_result(root, result)
    end
  end
  if not callback then
    local result, err = await(root, method, params)
    note(result)
    return result, err
  end
  return client.request(root, method, params, function(err, result)
    note(result)
    callback(err, result)
  end)
end

---@param result table of `ploke/applyEdits`
---@return boolean
local function can_be_undone(result)
  local changed = vim.iter(result.files):any(function(file)
    return file.status == "applied"
  end)
  return result.applied and changed and not require("ploke.answer").why_no_undo(result)
end

--- Changes the settings; not needed if `vim.g.ploke` has them or the defaults will do.
---@param options table? see |ploke-settings|
function M.setup(options)
  require("ploke.config").setup(options)
end

--- Reads pieces of files and proves where they come from.
---@param params table `{ snippets = { { uri, range?, expected?, … }, … } }`
---@param options (ploke.Options|ploke.Callback)?
---@param callback ploke.Callback?
function M.snippets(params, options, callback)
  return call("ploke/snippets", params, options, callback)
end

--- Compares files with what is known of them.
---@param params table `{ files = { { uri, expected }, … } }`
---@param options (ploke.Options|ploke.Callback)?
---@param callback ploke.Callback?
function M.scan(params, options, callback)
  return call("ploke/scan", params, options, callback)
end

--- Changes files that still are what the guards say; with `dryRun = true` only tells what would happen.
---@param params table `{ documentChanges = { … } }`, a `WorkspaceEdit` with guards
---@param options (ploke.Options|ploke.Callback)?
---@param callback ploke.Callback?
function M.apply_edits(params, options, callback)
  return call("ploke/applyEdits", params, options, callback, function(root, result)
    if can_be_undone(result) then
      origins[root] = origins[root] or {}
      table.insert(origins[root], result.origin)
    end
  end)
end

--- Takes back what `apply_edits` did.
---@param params table `{ origin = result.origin }`
---@param options (ploke.Options|ploke.Callback)?
---@param callback ploke.Callback?
function M.undo(params, options, callback)
  return call("ploke/undo", params, options, callback, function(root, result)
    if result.applied then
      origins[root] = vim.tbl_filter(function(origin)
        return origin ~= params.origin
      end, origins[root] or {})
    end
  end)
end

--- What has changed since a clock value, also while nobody watched.
---@param params table `{ since? }`
---@param options (ploke.Options|ploke.Callback)?
---@param callback ploke.Callback?
function M.changes(params, options, callback)
  return call("ploke/changes", vim.tbl_extend("force", vim.empty_dict(), params or {}), options, callback)
end

--- Waits until every change of a file that has happened has been told.
---@param options (ploke.Options|ploke.Callback)?
---@param callback ploke.Callback?
function M.sync(options, callback)
  return call("ploke/sync", vim.empty_dict(), options, callback)
end

--- Tells how the sidecar is doing.
---@param options (ploke.Options|ploke.Callback)?
---@param callback ploke.Callback?
function M.status(options, callback)
  return call("ploke/status", vim.empty_dict(), options, callback)
end

--- Origins of the edits that were made from this Neovim and can be taken back, the newest last.
---@param root string
---@return string[]
function M.origins(root)
  return vim.deepcopy(origins[root] or {})
end

return M
