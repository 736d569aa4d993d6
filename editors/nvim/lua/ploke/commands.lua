--- `:Ploke` and its subcommands.
local answer = require("ploke.answer")
local client = require("ploke.client")
local ploke = require("ploke")
local roots = require("ploke.roots")
local ui = require("ploke.ui")

local M = {}

--- So many files are compared with one request.
local SCAN_STEP = 500

---@alias ploke.Subcommand { run: fun(argument: string?, command: table), complete: (fun(lead: string): string[])? }

---@type table<string, ploke.Subcommand>
local subcommands = {}

--- Runs `:Ploke …`.
---@param command table as given to a user command
function M.run(command)
  local name, argument = command.fargs[1] or "status", command.fargs[2]
  local subcommand = subcommands[name]
  if not subcommand or #command.fargs > 2 then
    return ui.error((":Ploke %s? Try :Ploke %s"):format(command.args, table.concat(M.names(), ", ")))
  end
  subcommand.run(argument, command)
end

--- Completes `:Ploke …`.
---@param lead string
---@param line string
---@return string[]
function M.complete(lead, line)
  local words = vim.split(vim.trim(line:match("Ploke!?(.*)$") or ""), "%s+", { trimempty = true })
  if #words == 0 or (#words == 1 and lead ~= "") then
    return vim.tbl_filter(function(name)
      return vim.startswith(name, lead)
    end, M.names())
  end
  local subcommand = subcommands[words[1]]
  return subcommand and subcommand.complete and subcommand.complete(lead) or {}
end

---@return string[]
function M.names()
  local names = vim.tbl_keys(subcommands)
  table.sort(names)
  return names
end

--- A callback that tells of an error, or goes on with the result.
---@param go_on fun(result: table)
---@return ploke.Callback
local function or_tell(go_on)
  return function(err, result)
    if err then
      return ui.error(err.message)
    end
    go_on(result)
  end
end

subcommands.status = {
  run = function()
    local root = roots.current()
    ploke.status(
      { root = root },
      or_tell(function(status)
        local watch = status.watch
        local lines = {
          "project   " .. vim.fn.fnamemodify(root, ":~"),
          ("server    ploke-io %s, up for %d s"):format(status.version, status.uptimeMs / 1000),
          ("watching  %s%s"):format(watch.state, watch.reason and " (" .. watch.reason .. ")" or ""),
          ("          %d directories, %d changes pending, %d dropped"):format(
            watch.watches,
            watch.pending,
            watch.dropped
          ),
          ("edits     %d files written, %d bytes"):format(status.writes.applied, status.writes.bytes),
          "",
        }
        for _, method in ipairs(vim.fn.sort(vim.tbl_keys(status.requests))) do
          local numbers = status.requests[method]
          table.insert(
            lines,
            ("%-18s %6d answered, %d errors, median %.1f ms"):format(
              method,
              numbers.count,
              numbers.errors,
              numbers.p50Us / 1000
            )
          )
        end
        ui.float(lines, "ploke-io")
      end)
    )
  end,
}

--- The files of a project: what git knows or would add, else all that is not hidden.
---@param root string
---@return string[] relative paths
local function project_files(root)
  if vim.fn.executable("git") == 1 then
    local git = { "git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard" }
    local listed = vim.system(git):wait()
    if listed.code == 0 then
      return vim.split(listed.stdout, "\0", { trimempty = true })
    end
  end
  local function visible(path)
    return not vim.startswith(vim.fs.basename(path), ".")
  end
  local files = {}
  for path, kind in vim.fs.dir(root, { depth = math.huge, skip = visible }) do
    if kind == "file" and visible(path) then
      table.insert(files, path)
    end
  end
  return files
end

--- What the last scan of each root has found, hashes by path.
---@type table<string, table<string, string>>
local remembered = {}

--- Expected of a file that was never scanned: no file has this hash.
local UNKNOWN = ("0"):rep(64)

subcommands.scan = {
  run = function()
    local root = roots.current()
    local first = not remembered[root]
    local before, now, items = remembered[root] or {}, {}, {}
    local paths = project_files(root)
    local listed = {}
    for _, path in ipairs(paths) do
      listed[path] = true
    end
    for path in pairs(before) do
      if not listed[path] then
        table.insert(paths, path)
      end
    end

    local function step(from)
      if from > #paths then
        remembered[root] = now
        local summary = first and "%d files are remembered; the next :Ploke scan tells what has changed"
          or "%d files looked at, %d have changed since the last scan"
        summary = summary:format(#paths, #items)
        ui.notify(summary)
        if #items > 0 then
          ui.quickfix(items, "ploke: changed since the last scan", summary)
        end
        return
      end
      local files = {}
      for index = from, math.min(from + SCAN_STEP - 1, #paths) do
        local path = paths[index]
        table.insert(files, {
          uri = vim.uri_from_fname(vim.fs.joinpath(root, path)),
          expected = { contentHash = before[path] or UNKNOWN },
        })
      end
      ploke.scan(
        { files = files },
        { root = root },
        or_tell(function(result)
          for index, file in ipairs(result.files) do
            local path = paths[from + index - 1]
            now[path] = file.new and file.new.contentHash
            -- What git lists as a file and is none is a submodule.
            local text = file.status == "error" and file.error.kind ~= "notAFile" and file.error.message
              or file.status == "missing" and before[path] and "missing"
              or file.status == "changed" and not first and (before[path] and "changed" or "new")
            if text then
              table.insert(items, { filename = vim.uri_to_fname(file.uri), text = text })
            end
          end
          if #paths > SCAN_STEP then
            ui.notify(("scanned %d of %d files"):format(math.min(from + SCAN_STEP - 1, #paths), #paths))
          end
          step(from + SCAN_STEP)
        end)
      )
    end
    step(1)
  end,
}

--- Copies a reference to lines of the current file, which `ploke/snippets` takes as it is, into a register.
subcommands.snippet = {
  run = function(register, command)
    local buffer = vim.api.nvim_get_current_buf()
    local path = vim.api.nvim_buf_get_name(buffer)
    if path == "" or vim.bo[buffer].buftype ~= "" then
      return ui.error("this buffer has no file to refer to; open one")
    end
    register = register or vim.v.register
    local query = { uri = vim.uri_from_bufnr(buffer) }
    local name = vim.fn.fnamemodify(path, ":~:.")
    if command.range > 0 then
      query.range = {
        start = { line = command.line1 - 1, character = 0 },
        -- Behind the end of the line means its end.
        ["end"] = { line = command.line2 - 1, character = 2 ^ 31 - 1 },
      }
      name = ("%s:%d-%d"):format(name, command.line1, command.line2)
    end
    ploke.snippets(
      { snippets = { query } },
      or_tell(function(result)
        local snippet = result.snippets[1]
        if snippet.status == "error" then
          return ui.error(snippet.error.message)
        end
        local reference = {
          name = name,
          uri = snippet.uri,
          range = snippet.byteRange,
          expected = { contentHash = snippet.contentHash },
        }
        vim.fn.setreg(register, vim.json.encode(reference))
        ui.notify(("a reference to %s is in register %s"):format(name, register))
        if vim.bo[buffer].modified and snippet.source ~= "buffer" then
          ui.warn("the reference is to the file on disk, without the unsaved changes of the buffer")
        end
      end)
    )
  end,
}

---@param count integer
---@return string
local function files(count)
  return count == 1 and "1 file" or count .. " files"
end

--- What became of an edit that failed, in words.
---@param result table
---@return string
local function failed(result)
  local reasons = {}
  for _, file in ipairs(result.files) do
    if file.error and file.error.message ~= result.failureReason then
      table.insert(reasons, file.error.message)
    end
  end
  return table.concat({ result.failureReason or "not applied", unpack(reasons) }, "\n")
end

--- Adds what was previewed to the guards, so that exactly that is applied.
---@param params table
---@param preview table
---@return table
local function guarded_by(params, preview)
  local expected = vim.empty_dict()
  for _, file in ipairs(preview.files) do
    if file.oldContentHash then
      expected[file.oldUri or file.uri] = { contentHash = file.oldContentHash }
    end
  end
  params = vim.tbl_extend("force", params, { dryRun = false })
  params.expected = vim.tbl_deep_extend("keep", params.expected or vim.empty_dict(), expected)
  return params
end

--- Previews the edits that a JSON file or register describes, and applies them if the user agrees.
subcommands.apply = {
  run = function(path)
    local root = roots.current()
    local source, text
    if path then
      source = path
      local file, problem = io.open(vim.fs.normalize(path))
      if not file then
        return ui.error(problem)
      end
      text = file:read("*a")
      file:close()
    else
      source = "register " .. vim.v.register
      text = vim.fn.getreg(vim.v.register)
    end
    local decoded, params = pcall(vim.json.decode, text, { luanil = { object = true } })
    if not decoded or type(params) ~= "table" or vim.islist(params) then
      return ui.error(source .. " does not hold a JSON object, the params of ploke/applyEdits; :help :Ploke-apply")
    end

    local function apply(preview)
      ploke.apply_edits(
        guarded_by(params, preview),
        { root = root },
        or_tell(function(result)
          if not result.applied then
            return ui.error(failed(result))
          end
          local changed, no_undo = ("%s changed"):format(files(#result.files)), answer.why_no_undo(result)
          if no_undo then
            return ui.warn(("%s; :Ploke undo can not take it back: %s"):format(changed, no_undo))
          end
          ui.notify(changed .. "; :Ploke undo takes it back")
        end)
      )
    end

    ploke.apply_edits(
      vim.tbl_extend("force", params, { dryRun = true }),
      { root = root },
      or_tell(function(preview)
        if preview.failureReason then
          return ui.error(failed(preview))
        elseif (preview.diff or "") == "" then
          return ui.notify("these edits would change nothing")
        end
        ui.confirm_diff(preview.diff, params.label or "Apply?", function(agreed)
          if agreed then
            apply(preview)
          else
            ui.notify("nothing was changed")
          end
        end)
      end)
    )
  end,
  complete = function(lead)
    return vim.fn.getcompletion(lead, "file")
  end,
}

subcommands.undo = {
  run = function(origin)
    local root = roots.current()
    local origins = ploke.origins(root)
    origin = origin or origins[#origins]
    if not origin then
      return ui.error("nothing was applied from here; :Ploke undo {origin} takes back what another client did")
    end
    ploke.undo(
      { origin = origin },
      { root = root },
      or_tell(function(result)
        if not result.applied then
          return ui.error(failed(result))
        end
        ui.notify(("%s put back"):format(files(#result.files)))
      end)
    )
  end,
  complete = function(lead)
    return vim.tbl_filter(function(origin)
      return vim.startswith(origin, lead)
    end, ploke.origins(roots.current()))
  end,
}

subcommands.changes = {
  run = function()
    local items = require("ploke.files").quickfix_items(roots.current())
    ui.quickfix(items, "ploke: changes of files", "no file has changed since the sidecar started")
  end,
}

subcommands.log = {
  run = function()
    local directory = require("ploke.config").log_dir()
    local newest, time = nil, -1
    for name, kind in vim.fs.dir(directory) do
      local path = vim.fs.joinpath(directory, name)
      local stat = kind == "file" and vim.uv.fs_stat(path)
      if stat and stat.mtime.sec + stat.mtime.nsec / 1e9 > time then
        newest, time = path, stat.mtime.sec + stat.mtime.nsec / 1e9
      end
    end
    if not newest then
      return ui.error("there is no log in " .. directory .. " yet; it begins when ploke-io starts")
    end
    vim.cmd.tabedit(vim.fn.fnameescape(newest))
    vim.cmd("setlocal readonly nomodifiable noswapfile autoread")
    vim.cmd.normal({ "G", bang = true })
  end,
}

subcommands.restart = {
  run = function()
    client.restart(
      roots.current(),
      or_tell(function()
        ui.notify("ploke-io runs")
      end)
    )
  end,
}

return M
