--- `:checkhealth ploke`
local M = {}

--- Below these a sidecar runs out on projects that people really have.
local INOTIFY = { max_user_watches = 65536, max_user_instances = 128, max_queued_events = 16384 }

function M.check()
  vim.health.start("ploke")
  if vim.fn.has("nvim-0.10") == 0 then
    return vim.health.error("Neovim is too old", { "Install Neovim 0.10 or newer" })
  end
  vim.health.ok("Neovim " .. tostring(vim.version()))

  local fine, settings = pcall(require("ploke.config").get)
  if not fine then
    return vim.health.error(tostring(settings))
  end
  M.check_program(settings)
  M.check_inotify()
  M.check_log(require("ploke.config").log_dir())
  M.check_servers()
end

--- Starts the program for a moment and asks it who it is.
---@param settings ploke.Config
function M.check_program(settings)
  local program = settings.cmd[1]
  if vim.fn.executable(program) == 0 then
    return vim.health.error(program .. " was not found", {
      "Build it: `cargo install --locked --path .` in the directory of ploke-io",
      "Or tell where it is: `vim.g.ploke = { cmd = { '/path/to/ploke-io' } }`",
    })
  end
  vim.health.ok("program: " .. vim.fn.exepath(program))

  local options = vim.tbl_deep_extend("force", settings.init_options, { watch = { enabled = false } })
  local params = {
    processId = vim.NIL,
    rootUri = vim.NIL,
    capabilities = vim.empty_dict(),
    initializationOptions = options,
  }
  local request = vim.json.encode({ jsonrpc = "2.0", id = 1, method = "initialize", params = params })
  local started, process = pcall(vim.system, settings.cmd, {
    stdin = ("Content-Length: %d\r\n\r\n%s"):format(#request, request),
  })
  if not started then
    return vim.health.error("it can not be started: " .. process)
  end
  local out = process:wait(5000)
  local length, body = (out.stdout or ""):match("Content%-Length: (%d+)\r\n\r\n(.*)$")
  local message = body and body:sub(1, tonumber(length)) or ""
  local decoded, answer = pcall(vim.json.decode, message, { luanil = { object = true } })
  if not decoded then
    return vim.health.error(
      ("it does not answer like ploke-io (exit code %d)"):format(out.code),
      { "Run `" .. table.concat(settings.cmd, " ") .. " --version` in a shell", out.stderr or "" }
    )
  end
  if answer.error then
    return vim.health.error("it refuses the settings: " .. answer.error.message, { "Correct `init_options`" })
  end
  local version = vim.tbl_get(answer, "result", "serverInfo", "version") or "unknown"
  vim.health.ok("version: " .. version)
  local protocol = vim.tbl_get(answer, "result", "capabilities", "experimental", "ploke", "protocol")
  local wanted = require("ploke.client").PROTOCOL
  if protocol == wanted then
    vim.health.ok("protocol: " .. protocol)
  else
    vim.health.error(("protocol: it speaks %s, this plugin %d"):format(protocol or "none", wanted), {
      "Install versions of ploke-io and of this plugin that belong together",
    })
  end
end

function M.check_inotify()
  if vim.uv.os_uname().sysname ~= "Linux" then
    return vim.health.info("inotify: not on this system")
  end
  for _, name in ipairs({ "max_user_watches", "max_user_instances", "max_queued_events" }) do
    local file = io.open("/proc/sys/fs/inotify/" .. name)
    local limit = file and file:read("*n")
    if file then
      file:close()
    end
    if not limit then
      vim.health.warn("inotify: " .. name .. " can not be read")
    elseif limit < INOTIFY[name] then
      vim.health.warn(("inotify: %s is only %d"):format(name, limit), {
        ("Raise it: `sysctl fs.inotify.%s=%d`"):format(name, INOTIFY[name]),
        "Or poll: `init_options = { watch = { backend = 'poll' } }`",
      })
    else
      vim.health.ok(("inotify: %s is %d"):format(name, limit))
    end
  end
end

---@param directory string
function M.check_log(directory)
  if vim.fn.isdirectory(directory) == 0 then
    vim.health.info("log: " .. directory .. " is made when the sidecar first starts")
  elseif not vim.uv.fs_access(directory, "W") then
    vim.health.warn("log: " .. directory .. " is not writable", { "Correct its mode, or set `init_options.log.dir`" })
  else
    vim.health.ok("log: " .. directory)
  end
end

function M.check_servers()
  local servers = require("ploke.client").servers()
  if #servers == 0 then
    vim.health.info("no sidecar runs; one starts with the first file of a project or the first :Ploke command")
  end
  for _, server in ipairs(servers) do
    local text = ("sidecar of %s: %s"):format(server.root, server.state)
    if server.reason then
      vim.health.error(text .. ": " .. server.reason, { "Correct it, then `:Ploke restart`" })
    else
      vim.health.ok(text)
    end
  end
end

return M
