-- job_submit.lua: the controller's side of OmniPilot. It only checks: no job is changed, nothing is read, no program is called.
--
-- To switch it on: put this file beside slurm.conf on the controller, set `JobSubmitPlugins=lua` there, and restart slurmctld. A site
-- that has a job_submit.lua already calls `omnipilot.submit` and `omnipilot.modify` from its own functions.
--
-- What it closes is what the plugin in sbatch cannot: submissions that never loaded it (an own SLURM_CONF, slurmrestd, scrontab),
-- and `scontrol update` of a pending job that was advised. It guides, as the plugin does: a user who forges the comment and the
-- variables of an advice is not found out here, but in accounting, where that advice belongs to another job.

omnipilot = {
  -- Partitions in which a job that asks for GPUs must be tagged or advised, as { "h100", "h200" }. None: nobody needs a tag.
  guarded = {},
  -- The same by account and by QOS, be they typed or the user's defaults, which the plugin in sbatch does not know.
  guarded_accounts = {},
  guarded_qos = {},
  -- What is asked for there: "tag", which --llm-advice=off or explore satisfies too, or "advice", which only a job satisfies that
  -- carries one and asks for its GPUs.
  needs = "tag",
  -- Users who are never checked; root and operators of Slurm's own tools run as 0.
  exempt = { [0] = true },
}

local TAG = "_SLURM_SPANK_OPTION_omnipilot_llm_model="
-- The fields in which Slurm's option table puts a request for GPUs, with the options that fill them. `tests/slurm/ways_to_gpus.rs` asks
-- `sbatch --help` of the release for its options and tries each.
local FORMS = {
  { "tres_per_node", "--gres" }, -- and --gpus-per-node
  { "tres_per_job", "--gpus" },
  { "tres_per_socket", "--gpus-per-socket" },
  { "tres_per_task", "--gpus-per-task" }, -- and --tres-per-task
}
-- Names of generic resources that are GPUs or parts of one.
local GPUS = { gpu = true, mps = true, shard = true }
-- What an advice decided, by the field of a change; a pending job keeps it. With GPUs for each node, CPUs and tasks decide how many nodes
-- and so how many GPUs there are.
local PINNED = {
  tres_per_node = "--gres", tres_per_job = "--gpus", tres_per_socket = "--gpus-per-socket", tres_per_task = "--gpus-per-task",
  features = "--constraint", comment = "--comment", partition = "--partition", req_nodes = "--nodelist", exc_nodes = "--exclude",
  min_nodes = "--nodes", max_nodes = "--nodes", num_tasks = "--ntasks", min_cpus = "the number of CPUs",
  cpus_per_task = "--cpus-per-task", ntasks_per_node = "--ntasks-per-node", ntasks_per_tres = "--ntasks-per-gpu", shared = "--exclusive",
}
-- Slurm's numbers for "not given", of 16, 32 and 64 bits.
local UNSET = { [65534] = true, [4294967294] = true, [18446744073709551614] = true }

-- A field as it was given; nil where it was not.
local function given(job, field)
  local value = job[field]
  if value ~= nil and not UNSET[value] then
    return value
  end
end

local function advice_in(comment)
  return (" " .. (comment or "")):match("%somnipilot:(%x+)")
end

-- The first entry of a request that is for GPUs, without Slurm's `gres:` or `gres/` before it, in lower case: "gpu:h100:2".
local function gpus_in(asked)
  for entry in (asked or ""):lower():gmatch("[^,]+") do
    local plain = entry:gsub("^%s*gres[:/]", "")
    if GPUS[plain:match("^[%w_]+")] then
      return plain
    end
  end
end

-- How the job asks for GPUs, in words; nil where it does not. Whole nodes come with all their GPUs.
local function gpus_of(job)
  for _, form in ipairs(FORMS) do
    local field, option = form[1], form[2]
    local asked = gpus_in(given(job, field))
    if asked then
      return ("%s=%s"):format(option, asked)
    end
  end
  local tasks = given(job, "ntasks_per_tres") or given(job, "ntasks_per_gpu")
  if tasks and tasks > 0 then
    return ("--ntasks-per-gpu=%d"):format(tasks)
  end
  if job.shared == 0 then
    return "--exclusive"
  end
end

local function is_tagged(job)
  local options = job.spank_job_env
  for i = 0, (job.spank_job_env_size or 0) - 1 do
    if options and options[i] and options[i]:sub(1, #TAG) == TAG then
      return true
    end
  end
  return false
end

-- GPUs in all that the job asks for in one of the forms that an advice leaves, and whether they are of this type. A count without a type goes
-- with the type's feature in --constraint.
local function asks_for(job, wanted)
  local nodes = math.max(given(job, "min_nodes") or 1, 1)
  local tasks = math.max(given(job, "num_tasks") or nodes, 1)
  local times = { tres_per_node = nodes, tres_per_job = 1, tres_per_task = tasks }
  for field, factor in pairs(times) do
    local asked = gpus_in(given(job, field))
    if asked then
      local type = asked:match("^gpu:([^:=]*%a[^:=]*)")
      local count = tonumber(asked:match("[:=](%d+)$") or 1)
      local fits = type and type == wanted:lower() or not type and (job.features or "") ~= ""
      return count * factor, fits, nodes
    end
  end
end

-- Whether the job carries an advice and asks for the GPUs that this advice is about. Where an engine starts on each of several nodes,
-- the advice is about one of them.
local function is_advised(job)
  local id, env = advice_in(job.comment), job.environment
  if not id or not env or env["SLURM_LLM_ADVICE"] ~= id then
    return false
  end
  local gpu, tp = env["SLURM_LLM_GPU"], tonumber(env["SLURM_LLM_TP"])
  if not gpu or not tp then
    return true
  end
  local arguments = " " .. (env["SLURM_LLM_ENGINE_ARGS"] or "")
  for _, option in ipairs({ "%-%-data%-parallel%-size", "%-%-pipeline%-parallel%-size" }) do
    tp = tp * (tonumber(arguments:match("%s" .. option .. "[ =](%d+)")) or 1)
  end
  local count, fits, nodes = asks_for(job, gpu)
  return count ~= nil and fits and (count == tp or count == tp * nodes)
end

local function default_partition(partitions)
  for name, partition in pairs(partitions) do
    if partition.flag_default == 1 then
      return name
    end
  end
  return ""
end

-- The first of these names, separated by commas, that is guarded.
local function among(names, guarded)
  for name in (names or ""):gmatch("[^,]+") do
    for _, wanted in ipairs(guarded) do
      if name == wanted then
        return name
      end
    end
  end
end

-- What guards a job with these names: a partition in which it may run, its account or its QOS, in words and by name.
local function guard_of(partition, account, qos)
  local found = among(partition, omnipilot.guarded)
  if found then
    return "partition " .. found, found
  end
  found = among(account, omnipilot.guarded_accounts)
  if found then
    return "account " .. found
  end
  found = among(qos, omnipilot.guarded_qos)
  return found and "QOS " .. found
end

-- Whether some guarded partition of these gives every job whole nodes, and so all their GPUs (OverSubscribe=EXCLUSIVE).
local function gives_whole_nodes(names, partitions)
  for name in (names or ""):gmatch("[^,]+") do
    local partition = partitions and partitions[name]
    if partition and partition.max_share == 0 and among(name, omnipilot.guarded) then
      return "whole nodes of partition " .. name
    end
  end
end

local function refuse(reason, hint)
  -- As an argument: what users write is no format.
  slurm.log_user("%s", "omnipilot: " .. reason .. "\nomnipilot: hint: " .. hint)
  return slurm.ESLURM_ACCESS_DENIED
end

function omnipilot.submit(job, partitions, uid)
  if omnipilot.exempt[uid] then
    return slurm.SUCCESS
  end
  local partition = job.partition or default_partition(partitions)
  local asked = gpus_of(job) or gives_whole_nodes(partition, partitions)
  local guard = asked and guard_of(partition, job.account or job.default_account, job.qos or job.default_qos)
  if not guard or is_advised(job) then
    return slurm.SUCCESS
  end
  if omnipilot.needs == "advice" then
    return refuse(("%s on %s without an advice for it"):format(asked, guard),
      "`--llm-model=MODEL` asks for one")
  end
  if is_tagged(job) then
    return slurm.SUCCESS
  end
  return refuse(("%s on %s, but no model is named"):format(asked, guard),
    "`--llm-model=MODEL` asks for advice; `--llm-advice=off` beside it keeps your own request")
end

-- A pending job without tag and advice gets no GPUs in a guarded place afterwards, and does not move into one.
local function modify_plain(change, job)
  local moved = guard_of(change.partition, change.account, change.qos)
  local asked = gpus_of(change)
  local guard = moved or asked and guard_of(job.partition, job.account, job.qos)
  if not guard or omnipilot.needs == "tag" and is_tagged(job) then
    return slurm.SUCCESS
  end
  return refuse(("job %s has no model and gets no %s"):format(job.job_id or "", moved and "place on " .. guard or asked .. " on " .. guard),
    "`scancel` it and submit it anew with `--llm-model=MODEL`")
end

function omnipilot.modify(change, job, uid)
  if omnipilot.exempt[uid] then
    return slurm.SUCCESS
  end
  local id = advice_in(job.comment)
  if not id then
    return modify_plain(change, job)
  end
  for field, option in pairs(PINNED) do
    local wanted = given(change, field)
    if wanted and not (field == "comment" and advice_in(wanted) == id) then
      return refuse(("job %s was advised (%s), %s stays as it is"):format(job.job_id or "", id, option),
        "`scancel` it and submit it anew, with `--llm-gpu` or `--llm-tp` for what you want to fix")
    end
  end
  return slurm.SUCCESS
end

-- An error in here must harm no job: it is logged, and the job goes.
local function checked(check, ...)
  local done, result = pcall(check, ...)
  if done then
    return result
  end
  slurm.log_error("omnipilot: %s", tostring(result))
  return slurm.SUCCESS
end

function slurm_job_submit(job, partitions, uid)
  return checked(omnipilot.submit, job, partitions, uid)
end

function slurm_job_modify(change, job, partitions, uid)
  return checked(omnipilot.modify, change, job, uid)
end

slurm.log_info("omnipilot: job_submit.lua checks %d partitions, %d accounts, %d QOS", #omnipilot.guarded,
  #omnipilot.guarded_accounts, #omnipilot.guarded_qos)
return slurm.SUCCESS
