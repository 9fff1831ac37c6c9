-- cli_filter.lua: records which job an advice went to. The plugin in sbatch never learns the job's id; this filter does.
--
-- To switch it on: put this file beside slurm.conf on every machine where jobs are submitted, and set `CliFilterPlugins=lua` there.
-- The order matters: with that line and without the file, no sbatch and no srun of anybody works.
--
-- Each submission that was advised leaves one empty file named JOB.ADVICE in a folder of its own, owned by the user, whose time is that
-- of the submission. It is for an administrator's own reports, where accounting does not keep comments (`AccountingStoreFlags` without
-- `job_comment`): which advised jobs never started, or left no outcome file. `omnipilot ingest` does not read it, for an outcome file
-- carries both ids, and an empty file that any user can make proves nothing.
-- Untagged submissions leave nothing. Whatever fails here is passed over in silence.

-- Like the spool, a folder in which every user can make files and none can take another's away (mode 1777).
local RECORDS = "/var/spool/omnipilot/submitted"

-- Slurm's "no step": a batch job or an allocation. A step of a running job has a number of its own.
local NO_STEP = { [4294967294] = true, [-2] = true }

function slurm_cli_setup_defaults(options, early)
  return slurm.SUCCESS
end

function slurm_cli_pre_submit(options, offset)
  return slurm.SUCCESS
end

-- Runs in sbatch, salloc and srun after the controller took the job; the advice stands in the process's environment.
local function record(job, step)
  local advice = os.getenv("SLURM_LLM_ADVICE")
  if not advice or not advice:match("^%x+$") or not job then
    return
  end
  -- Inside a job the variable may be that job's own: only the plugin of this submission leaves the option's trace beside it.
  if os.getenv("SLURM_JOB_ID") and not NO_STEP[step or 4294967294] then
    return
  end
  local file = io.open(("%s/%d.%s"):format(RECORDS, job, advice), "w")
  if file then
    file:close()
  end
end

function slurm_cli_post_submit(offset, job, step)
  pcall(record, job, step)
  return slurm.SUCCESS
end

return slurm.SUCCESS
