--- Settings: the defaults, `vim.g.ploke` over them, and what `setup` was given over both.
local M = {}

---@class ploke.Config
---@field cmd string[] the sidecar and its arguments
---@field autostart boolean start the sidecar when a file of a project is opened
---@field root_markers string[] what lies in the root of a project; the first that is found above a file wins
---@field init_options table `initializationOptions`, see protocol.md
---@field refresh boolean reload unmodified buffers when their file changes
---@field restart ploke.Config.Restart
local defaults = {
  cmd = { "ploke-io" },
  autostart = true,
  root_markers = { ".git", ".hg", ".jj", "Cargo.toml" },
  init_options = {},
  refresh = true,
  ---@class ploke.Config.Restart
  ---@field attempts integer how often in a row a sidecar that died is started again
  ---@field delay_ms integer before the first of them; doubled each time
  ---@field max_delay_ms integer
  restart = { attempts = 5, delay_ms = 500, max_delay_ms = 30000 },
}

---@type table?
local given

--- `init_options` is the server's business: it refuses what it doesn't know.
local free = { init_options = true }

---@param settings table
---@param known table
---@param prefix string
local function check(settings, known, prefix)
  for name, value in pairs(settings) do
    local path = prefix .. name
    local default = known[name]
    if default == nil then
      error(("ploke: there is no setting `%s`; :help ploke-settings lists them"):format(path), 0)
    end
    if type(value) ~= type(default) then
      error(("ploke: the setting `%s` must be a %s, not %s"):format(path, type(default), vim.inspect(value)), 0)
    end
    if type(value) == "table" and not vim.islist(default) and not free[name] then
      check(value, default, path .. ".")
    end
  end
end

---@param options table?
function M.setup(options)
  given = options or {}
  M.get()
end

--- The settings as they are now; raises what is wrong with them.
---@return ploke.Config
function M.get()
  local settings = vim.tbl_deep_extend("force", defaults, vim.g.ploke or {}, given or {})
  check(settings, defaults, "")
  return settings
end

--- Where the server keeps its log, by the settings, its arguments and its environment, in the server's own order.
---@return string
function M.log_dir()
  local settings = M.get()
  local argument
  for index, word in ipairs(settings.cmd) do
    argument = word:match("^%-%-log%-dir=(.+)") or (word == "--log-dir" and settings.cmd[index + 1]) or argument
  end
  local chosen = vim.tbl_get(settings.init_options, "log", "dir") or argument or vim.env.PLOKE_IO_LOG_DIR
  if chosen then
    return vim.fs.normalize(chosen)
  end
  local system = vim.uv.os_uname().sysname
  local state = "~/.local/state"
  if system == "Darwin" then
    state = "~/Library/Application Support"
  elseif vim.fn.has("win32") == 1 then
    state = "$LOCALAPPDATA"
  elseif (vim.env.XDG_STATE_HOME or "") ~= "" then
    state = "$XDG_STATE_HOME"
  end
  return vim.fs.joinpath(vim.fs.normalize(state), "ploke-io", "log")
end

return M
