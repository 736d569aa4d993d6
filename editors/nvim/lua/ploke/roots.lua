--- Which project a file belongs to.
local config = require("ploke.config")

local M = {}

--- The root of the project that a file belongs to: of the first marker that is found above it.
---@param source integer|string buffer or path
---@return string?
function M.of(source)
  for _, marker in ipairs(config.get().root_markers) do
    local root = vim.fs.root(source, marker)
    if root then
      return vim.fs.normalize(root)
    end
  end
end

--- The root that commands and calls speak of when they name none: that of the current file, else of the directory.
---@return string
function M.current()
  local named = vim.bo.buftype == "" and vim.api.nvim_buf_get_name(0) ~= ""
  local directory = vim.fn.getcwd()
  return named and M.of(0) or M.of(directory) or vim.fs.normalize(directory)
end

return M
