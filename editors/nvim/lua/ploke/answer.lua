--- Answers as callers get them, the same from every version of Neovim.
local M = {}

---@class ploke.Error
---@field message string says what to do
---@field code integer? of JSON-RPC, if the server has answered
---@field data table? an item error, see protocol.md

---@param message string
---@param code integer?
---@param data table?
---@return ploke.Error
function M.failure(message, code, data)
  return setmetatable({ message = message, code = code, data = data }, {
    __tostring = function(err)
      return err.message
    end,
  })
end

--- A message in which what is null is absent, as some versions of Neovim give it and others do not.
---@generic T
---@param value T
---@return T
function M.without_null(value)
  if value == vim.NIL then
    return nil
  elseif type(value) ~= "table" then
    return value
  end
  for key, member in pairs(value) do
    value[key] = M.without_null(member)
  end
  return value
end

--- Why `ploke.undo` can not take back what was applied, if that was said.
---@param result table of `ploke/applyEdits`
---@return string?
function M.why_no_undo(result)
  for _, file in ipairs(result.files) do
    for _, warning in ipairs(file.warnings or {}) do
      if warning.kind == "undoNotKept" then
        return warning.message
      end
    end
  end
end

return M
