-- Asks for one user's path after the other's, and prints what wrk counted as a line of JSON.
-- Arguments: method, path with %d for the user, first user, last user, file of the body (for POST).

local requests, sent = {}, 0

function init(args)
  local method, path, body = args[1], args[2], nil
  if args[5] then
    body = io.open(args[5]):read("*a")
    wrk.headers["Content-Type"] = "application/json"
  end
  for user = args[3], args[4] do
    table.insert(requests, wrk.format(method, (path:gsub("%%d", user)), nil, body))
  end
end

function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "bytes": %d, "p50": %f, "p99": %f, "failures": %d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status
  ))
end
