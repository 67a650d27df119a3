-- What wrk knows at its end, as one line of JSON.  Latencies are in microseconds: the middle of
-- each of a thousand equal parts of the requests, which is all that percentiles to 99.9 need.
done = function(summary, latency, requests)
   local errors = summary.errors
   local parts = {}
   for i = 1, 1000 do
      parts[i] = string.format("%.1f", latency:percentile((i - 0.5) / 10))
   end
   io.write(string.format(
      '\n{"requests": %d, "seconds": %.6f, "connect": %d, "read": %d, "write": %d,' ..
      ' "status": %d, "timeout": %d, "latency_us": [%s]}\n',
      summary.requests, summary.duration / 1e6, errors.connect, errors.read, errors.write,
      errors.status, errors.timeout, table.concat(parts, ", ")))
end
