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
local FORMS = { "tres_per_node", "tres_per_job", "tres_per_socket", "tres_per_task" }
-- What an advice decided; a pending job keeps it.
local PINNED = { tres_per_node = "--gres", tres_per_job = "--gpus", tres_per_socket = "--gpus-per-socket",
  tres_per_task = "--gpus-per-task", features = "--constraint", comment = "--comment" }

local function advice_in(comment)
  return (" " .. (comment or "")):match("%somnipilot:(%x+)")
end

-- The first form in which the job asks for GPUs, as "gres:gpu:h100:2".
local function gpus_of(job)
  for _, form in ipairs(FORMS) do
    local asked = job[form]
    if asked and asked:find("gpu", 1, true) then
      return asked
    end
  end
end

local function is_tagged(job)
  local options = job.spank_job_env
  for i = 0, (job.spank_job_env_size or 0) - 1 do
    if options[i] and options[i]:sub(1, #TAG) == TAG then
      return true
    end
  end
  return false
end

-- Whether the job carries an advice and asks for the GPUs that this advice is about.
local function is_advised(job, asked)
  local id, env = advice_in(job.comment), job.environment
  if not id or not env or env["SLURM_LLM_ADVICE"] ~= id then
    return false
  end
  local gpu, tp = env["SLURM_LLM_GPU"], tonumber(env["SLURM_LLM_TP"])
  local type, count = asked:match("gpu:([^:,=]+)[:=](%d+)")
  return not gpu or not tp or (type == gpu and tonumber(count) == tp)
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

-- What guards the job: a partition in which it may run, its account or its QOS, in words.
local function guard_of(job, partitions)
  local partition = #omnipilot.guarded > 0
    and among(job.partition or default_partition(partitions), omnipilot.guarded)
  if partition then
    return "partition " .. partition
  end
  local account = #omnipilot.guarded_accounts > 0
    and among(job.account or job.default_account, omnipilot.guarded_accounts)
  if account then
    return "account " .. account
  end
  local qos = #omnipilot.guarded_qos > 0 and among(job.qos or job.default_qos, omnipilot.guarded_qos)
  return qos and "QOS " .. qos
end

local function refuse(reason, hint)
  slurm.log_user("omnipilot: " .. reason .. "\nomnipilot: hint: " .. hint)
  return slurm.ESLURM_ACCESS_DENIED
end

function omnipilot.submit(job, partitions, uid)
  if omnipilot.exempt[uid] then
    return slurm.SUCCESS
  end
  local asked = gpus_of(job)
  local guard = asked and guard_of(job, partitions)
  if not guard or is_advised(job, asked) then
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

function omnipilot.modify(change, job, uid)
  local id = advice_in(job.comment)
  if not id or omnipilot.exempt[uid] then
    return slurm.SUCCESS
  end
  for field, option in pairs(PINNED) do
    local wanted = change[field]
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
