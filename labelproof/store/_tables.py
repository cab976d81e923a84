"""The text the schema is read from: one block per table, ``name | what it holds``, then its columns."""

from __future__ import annotations

TABLE_TEXT = """
texts | Prompts, responses and item texts, stored once per content. Join through `text_by_hash`.
text_hash | text | Content hash of `text`.
text | text | The text, character for character.

projects | One row each time a version of a project is first used.
project_fp | text | Fingerprint of everything in the project that decides labels.
project | text | Project name.
spec_json | text | The whole project as canonical JSON.
ts | time | When it was stored.

strategies | One row each time a version of a strategy is first used.
strategy_fp | text | Fingerprint over the strategy, its prompts, guideline and examples.
project | text | Project name.
strategy | text | Strategy name.
spec_json | text | The whole strategy as canonical JSON.
ts | time | When it was stored.

runs | What happened to runs; the latest row is a run's state (view `current_runs`).
run_id | text | The run; made by the client, sorts by time.
ts | time | When the event happened.
event | text | One of started, resumed, finished, stopped.
project | text | Project name.
project_fp | text | Version of the project.
strategy | text | Strategy name.
strategy_fp | text | Version of the strategy.
n_items | int | Items in the run.
repeat_idx | int | 0 for a first run; an A/A rerun counts up.
orchestrated | bool | True when Prefect ran it.
flow_run_id | text | Prefect flow run.
params_json | text | Parameters of the run.
summary_json | text | Counts and totals, with the finished and stopped events.
reason | text | Why a run stopped.

items | Items as they came in; the same content twice is the same item_id.
item_id | text | Content hash of the item's text: its identity.
external_id | text | The id the source gave it.
project | text | Project name.
text_hash | text | Its text, in `texts`.
meta_json | text | Metadata used as slices.
source | text | File, table or stream it came from.
ts | time | When it was read.

gold | Trusted labels, with the sampling design that drew the item.
gold_set | text | Name of the gold set.
gold_fp | text | Version of the gold set.
project | text | Project name.
item_id | text | The item.
label | text | The right label, in canonical form.
split | text | One of examples, calibration, certify, test.
design | text | How the item was sampled.
inclusion_prob | real | Probability with which the design drew this item, in (0, 1].
ts | time | When it was stored.

steps | Every step of every item in every run, failures and cache hits included.
run_id | text | The run.
item_id | text | The item.
seq | int | Position of the step within the item, from 0.
kind | text | Step kind: normalize, retrieve, label, critique, consensus, investigate, calibrate, route.
name | text | The step's name in the strategy.
step_key | text | Cache key: hash of step spec, input and repeat index.
spec_fp | text | Fingerprint of the step's own specification.
input_hash | text | Hash of what went in.
output_hash | text | Hash of what came out.
output_json | text | What came out.
status | text | One of ok, failed, skipped.
error | text | Why it failed.
cache_hit | bool | True when a stored result was used.
repeat_idx | int | Repeat index of the run.
n_calls | int | Model calls made.
tokens_in | int | Prompt tokens of those calls.
tokens_out | int | Completion tokens.
tokens_cached | int | Prompt tokens served from the provider's cache.
cost_usd | real | Cost of those calls.
latency_ms | real | Time the step took.
ts | time | When it ended.
flow_run_id | text | Prefect flow run.
task_run_id | text | Prefect task run.

calls | Every finished model call that was paid for.
call_key | text | Identity of the call: what was asked, of whom, and which attempt at it.
run_id | text | The run that paid.
item_id | text | The item.
step_key | text | The step that asked.
call_idx | int | Position of the call within the step, from 0.
model | text | Model name.
provider | text | Provider name.
system_hash | text | System prompt, in `texts`.
user_hash | text | User turn, in `texts`.
response_hash | text | Answer, in `texts`.
logprobs_json | text | Top alternatives per generated token, natural logarithms.
finish_reason | text | Why the model stopped.
provider_fingerprint | text | The provider's own version mark.
tokens_in | int | Prompt tokens.
tokens_out | int | Completion tokens.
tokens_cached | int | Prompt tokens served from the provider's cache.
cost_usd | real | Cost of the call.
latency_ms | real | Time until the whole answer was there.
attempts | int | HTTP attempts, at least 1.
ts | time | When the answer was there.
flow_run_id | text | Prefect flow run.
task_run_id | text | Prefect task run.

decisions | What was decided for an item; the latest row counts (view `current_decisions`).
run_id | text | The run.
item_id | text | The item.
strategy_fp | text | Version of the strategy.
label | text | The label, in canonical form.
confidence | real | Calibrated probability that the label is right.
raw_confidence | real | The signal before calibration.
decision | text | One of auto_accept, review, failed.
reason | text | Why.
certificate_id | text | The certificate an auto-accept rests on.
inclusion_prob | real | Probability with which this item could be drawn for audit.
audited | bool | True when it was drawn.
calibrator_id | text | Calibrator behind `confidence`.
ts | time | When it was decided.
flow_run_id | text | Prefect flow run.
task_run_id | text | Prefect task run.
cost_usd | real | What the answer cost in US dollars when it was made, reused steps included; NULL: no price known.
latency_ms | real | How long its model calls took when they were made, in milliseconds.

calibrators | Fitted calibrators.
calibrator_id | text | Identity of the calibrator.
run_id | text | The run it was fitted on.
strategy_fp | text | Version of the strategy.
method | text | Method name.
n | int | Labelled items it was fitted on.
params_json | text | Fitted parameters.
report_json | text | Reliability before and after.
ts | time | When it was fitted.

certificates | Proven statements about a strategy's auto-accepts.
certificate_id | text | Identity of the certificate.
project | text | Project name.
strategy_fp | text | Version of the strategy it holds for.
gold_fp | text | Version of the gold set it rests on.
spec_json | text | Threshold, bound, alpha and everything needed to check it again.
ts | time | When it was issued.

certificate_events | What happened to certificates; the latest row is the state.
certificate_id | text | The certificate.
event | text | issued, or voided (for good); expiry is a time inside `spec_json`.
reason | text | Why.
ts | time | When.

review_tasks | Questions to people: audits, gold candidates, routed items. What became of them: view `task_outcomes`.
task_id | text | The task; the same item drawn for the same reason has the same id.
project | text | Project name.
kind | text | One of audit, gold, routed, disagreement, appeal, check (hidden gold that measures a reviewer).
item_id | text | The item.
run_id | text | The run that made the task; NULL for samples drawn by hand.
strategy_fp | text | Version of the strategy whose decision is asked about.
label | text | The model's label; hidden from reviewers while `blind`.
confidence | real | The model's confidence.
blind | bool | True when the reviewer must not see the model's answer before voting.
votes_wanted | int | How many independent votes decide it.
reason | text | Why people are asked.
design | text | How the item was drawn: simple_random, stratified, active, or region.
inclusion_prob | real | Probability with which the design drew this item.
sample_id | text | The draw it belongs to (`gold_samples`).
ts | time | When it was made.

votes | Answers of people; a later row of the same annotator on the same task replaces the earlier.
vote_id | text | The vote; importing a file twice stores each vote once.
project | text | Project name.
task_id | text | The task; NULL for votes imported for agreement only.
item_id | text | The item.
annotator | text | Who.
role | text | reviewer, or adjudicator (whose label stands when reviewers differ).
answer | text | label, skip, flag, unclear, or withdrawn (the earlier answer was taken back).
label | text | The label, in canonical form; NULL unless `answer` is label.
note | text | What the annotator wrote.
source | text | Where the vote came from.
seconds | real | Time it took.
ts | time | When.
signature | text | HMAC over the vote's other columns by the app that took it; NULL for votes from files.

review_events | What happened to review tasks besides votes.
event_id | text | The event.
project | text | Project name.
task_id | text | The task.
item_id | text | The item.
actor | text | Who did it; `labelproof` when the queue did by its rules.
event | text | closed (no longer asked), reopened, or escalated (a lead must decide).
reason | text | Why.
ts | time | When.

gold_samples | Draws of items for gold, with the design needed to weigh them.
sample_id | text | The draw.
project | text | Project name.
strategy_fp | text | Version of the strategy whose confidences shaped the draw.
design | text | simple_random, or region (uniform among the items above a confidence).
n | int | Items drawn.
pool_n | int | Items they were drawn from.
spec_json | text | Region, seed, budget and everything else.
ts | time | When.

gold_looks | Every time a strategy was judged on a gold split: how worn the gold is.
project | text | Project name.
gold_fp | text | Version of the gold set.
split | text | Split looked at.
split_fp | text | Hash of the split's items and labels.
strategy | text | Strategy name.
strategy_fp | text | Version of the strategy.
purpose | text | certify (only a verdict was shown), score (results were shown), tuning (declared by a person).
reason | text | Why, where a person said so.
ts | time | When.

scores | Measured quality, one row per metric and slice.
run_id | text | The run that was scored.
strategy_fp | text | Version of the strategy.
gold_fp | text | Version of the gold set.
split | text | Gold split.
slice | text | Slice, as `key=value`; `all` for everything.
metric | text | Metric name.
value | real | Estimate; NULL when not measurable (see `reason`).
low | real | Lower end of the interval.
high | real | Upper end of the interval.
n | int | Items behind it.
method | text | How estimate and interval were computed.
reason | text | Why there is no value.
ts | time | When it was scored.

experiments | What happened to an experiment or a strategy search (`plan_json.kind` is `search`); the plan is hashed and stored before the first call.
experiment_id | text | The experiment.
project | text | Project.
event | text | One of planned, started, arm_finished, stopped, finished.
name | text | Its name, for people.
plan_fp | text | Hash of the plan.
plan_json | text | The plan: arms, items, metrics, margins, rule, sample size.
reason | text | Why it stopped, or which arm finished.
actor | text | Who started it.
flow_run_id | text | Prefect flow run.
ts | time | When.

arm_answers | What an arm of an experiment, or a strategy in the shadow, answered. It decides nothing.
experiment_id | text | The experiment, the strategy search, or the roll-out of a shadow.
arm | text | Name of the arm.
run_id | text | The run.
strategy_fp | text | Version of the strategy.
item_id | text | The item.
label | text | The label, in canonical form.
confidence | real | Calibrated probability that the label is right.
raw_confidence | real | The signal before calibration.
decision | text | What would have been decided: auto_accept, review, failed.
reason | text | Why.
certificate_id | text | The certificate an auto-accept would rest on.
cost_usd | real | What the answer cost in US dollars when it was made, reused steps included; NULL: no price known.
latency_ms | real | How long its model calls took when they were made, in milliseconds.
ts | time | When.
flow_run_id | text | Prefect flow run.
task_run_id | text | Prefect task run.

comparisons | Paired comparisons of two strategy versions, with their verdict.
comparison_id | text | The comparison.
project | text | Project.
experiment_id | text | The experiment it belongs to; empty when there was no plan.
plan_fp | text | Hash of the plan whose rule was applied.
strategy_a | text | Name of the strategy compared against.
fp_a | text | Its version.
strategy_b | text | Name of the strategy that is judged.
fp_b | text | Its version.
gold_fp | text | Version of the gold set.
split | text | Gold split.
split_fp | text | Hash of the split's items and labels.
verdict | text | One of ship, regression, inconclusive.
reason | text | The verdict in one sentence.
n_items | int | Items both answered.
report_json | text | All numbers of the report.
ts | time | When.

rollouts | How strategies come into use and go out of it: who, why, on which evidence.
rollout_id | text | One way of one strategy version from proposal to its end.
project | text | Project.
event | text | One of proposed, approved, rejected, shadow, canary, promoted, alarm, rolled_back, stopped.
strategy | text | Name of the strategy file that comes in.
fp_from | text | Version in use before.
fp_to | text | Version that comes in.
share_prob | real | Share of the traffic that a canary gets, 0 to 1.
actor | text | Who did it; `monitor` for the guardrail monitor.
reason | text | Why.
evidence_json | text | What it rests on: comparison, numbers, texts of the files before and after.
flow_run_id | text | Prefect flow run.
ts | time | When.

rollout_units | Which arm of a canary decided an item.
rollout_id | text | The roll-out.
item_id | text | The item.
unit | text | What was hashed: the item's id, or a cluster's.
arm | text | champion or candidate.
ts | time | When.

suite_runs | One strategy version on one suite of behavioural tests.
suite_run_id | text | The suite run.
project | text | Project.
suite | text | robustness, bias, injection, functional, or the name of a file of cases.
suite_fp | text | Hash of the cases.
strategy | text | Strategy name.
strategy_fp | text | Version of the strategy.
n_cases | int | Cases.
summary_json | text | Rates with intervals, per functionality and group.
ts | time | When.

suite_results | One case of a suite run.
suite_run_id | text | The suite run.
case_id | text | The case.
base_id | text | The item or case it was made from.
functionality | text | What is tested, such as `leetspeak`.
term_group | text | Group whose terms the text names; NULL where none.
text_hash | text | The case's text, in `texts`.
expected | text | The label it must get.
base_label | text | The label its base got.
label | text | The label it got.
confidence | real | Calibrated confidence of the label.
base_confidence | real | The base's.
passed | bool | True when the label is what it must be.
reason | text | Why it failed.
run_id | text | The run that labelled it.
ts | time | When.

measurements | What monitors measured: the time series of targets, drift and sentinel answers.
measurement_id | text | The measurement.
project | text | Project.
kind | text | target, drift, sentinel or volume.
subject | text | What was measured: a target's metric, a kind of drift, or a count.
strategy_fp | text | Version of the strategy; NULL when several decided.
run_id | text | The run after which it was measured; NULL on a schedule.
window_from | time | Start of the work it is about.
window_to | time | End of it.
value | real | Estimate; NULL when not measurable (see `reason`).
low | real | Lower end of the 95 % interval.
high | real | Upper end of it.
n | int | Items, audits or tasks behind it.
method | text | How estimate and interval were computed.
bound | real | What was promised.
side | text | at_least or at_most.
state | text | met, breached, not yet provable, quiet, alarm, or unknown.
evidence | real | Anytime-valid evidence against the promise: an e-value or the like.
evidence_needed | real | Where it alarms.
reason | text | Why there is no value, or what was found.
sql | text | The query behind it.
ts | time | When it was measured.
flow_run_id | text | Prefect flow run.

alarms | What happened to alarms; the latest row is an alarm's state (view `current_alarms`).
alarm_id | text | The alarm, from its breach to its recovery.
project | text | Project.
kind | text | target, drift, sentinel, run or suite.
subject | text | What it is about, as in `measurements`.
event | text | One of breached, escalated, acknowledged, recovered.
level | text | critical, major or minor.
role | text | Role that was told.
contact | text | Who was told, and where.
value | real | What was measured.
bound | real | What was promised.
change_from | time | When the change most likely began.
reason | text | What was found, in one sentence.
evidence_json | text | Numbers behind it, and the query.
actor | text | Who acknowledged it; `monitor` for the rest.
ts | time | When.
flow_run_id | text | Prefect flow run.

sentinels | The frozen items that are asked anew in every run.
sentinel_fp | text | Version of the sentinel set.
project | text | Project.
item_id | text | The item.
gold_label | text | Its gold label, if it has one.
design | text | How it was drawn.
ts | time | When it was frozen.

sentinel_answers | What a strategy said of the sentinel items at some time; no answer is taken from the cache.
sentinel_fp | text | Version of the sentinel set.
project | text | Project.
run_id | text | The run that asked.
after_run_id | text | The production run it accompanied.
strategy_fp | text | Version of the strategy.
item_id | text | The item.
label | text | The label; NULL when it failed.
confidence | real | Confidence of the label.
provider_fingerprint | text | The provider's own version mark.
repeat_idx | int | How often this version was asked before.
cost_usd | real | Cost of the calls.
ts | time | When.

root_causes | Analyses of a change between two periods.
rca_id | text | The analysis.
project | text | Project.
metric | text | Metric whose change is explained.
from_start | time | Start of the earlier period.
from_end | time | End of it.
to_start | time | Start of the later period.
to_end | time | End of it.
change | real | Later minus earlier value.
headline | text | The result in one sentence.
report_json | text | Parts, slices, causes, what was ruled out, recommended actions.
ts | time | When.

error_causes | Errors of an analysis, each with the causes its evidence speaks for.
rca_id | text | The analysis.
project | text | Project.
item_id | text | The item.
strategy_fp | text | Version of the strategy that labelled it.
label | text | The label it got.
right_label | text | The label it should have.
cause | text | The cause, one of those the analysis names; the strongest evidence first decides.
evidence_json | text | The evidence, and which other causes fit.
ts | time | When.

findings | What happened to findings; view `current_findings` says where each stands.
finding_id | text | The finding.
project | text | Project.
event | text | opened, edited, assigned, noted, checked, closed, reopened or accepted (a risk that is lived with).
title | text | The problem in one line.
severity | text | critical, major or minor.
owner | text | Who drives it to closure.
source | text | monitor, rca, suite, experiment or person.
source_id | text | The alarm, analysis, suite run or comparison it comes from.
cause | text | Root cause.
action | text | What is done about it.
check_text | text | Predicate that must hold before it closes, such as `auto_accuracy >= 0.95`.
check_runs | int | On how many runs in a row it must hold.
check_held | int | On how many it has held so far (event checked).
value | real | What the check measured (event checked).
evidence_json | text | Query and items.
due_ts | time | Until when.
actor | text | Who did it; `monitor` for the machine.
reason | text | Why, or the note.
ts | time | When.

reports | Reports that were written.
report_id | text | The report.
project | text | Project.
kind | text | weekly, experiment, model-card or data-card.
period_from | time | Start of the period.
period_to | time | End of it.
headline | text | Its first line.
report_json | text | Every number in it, with its query.
path | text | Where it was written.
ts | time | When.

playbook_entries | Measured effects of strategy changes, from comparisons here and from files of other teams.
entry_id | text | The entry.
project | text | Project.
traits_json | text | What kind of project: label kind, number of labels, languages, text length, model size.
change_kinds | text | Kinds of component that changed, joined by `+`.
change_json | text | The change: components before and after, and the strategy files' texts.
metric | text | Metric of the effect.
effect | real | B minus A.
standard_error | real | Its standard error.
low | real | Lower end of the 95 % interval.
high | real | Upper end of it.
n_items | int | Items behind it.
verdict | text | ship, regression or inconclusive.
comparison_id | text | The comparison it comes from.
origin | text | This store, or the file it was read from.
ts | time | When it was measured.

training_sets | Training sets that were written.
set_id | text | The set: hash of its rows and rules.
project | text | Project.
kind | text | sft, preference or evaluation.
version | text | Version within the project and kind, from 1.
n_rows | int | Rows.
spec_json | text | Filters, counts, what was left out and why.
path | text | Where it was written.
ts | time | When.

import_errors | Input records that could not become items.
source | text | File or table.
line | int | Line or row, from 1.
reason | text | What was wrong.
raw_hash | text | The raw record, in `texts`.
ts | time | When it was read.

ledger_batches | The batches already drained from the outbox: one row per batch and table.
batch_id | text | Name of the outbox segment.
table_name | text | Table.
n_rows | int | Rows the batch added to it.
ts | time | When it was drained.

ledger_migrations | The migrations this file has been through.
version | int | Migration number.
name | text | Migration name.
checksum | text | Hash of the migration's SQL.
ts | time | When it ran.

meta | Facts about this store; for a key written twice the first row counts.
key | text | Name.
value | text | Value.
"""

VIEW_TEXT = """
text_by_hash | One row per text, whoever stored it twice.
current_items | The latest row of each item of a project.
current_runs | One row per run: its state (latest event), first start, and latest summary.
current_decisions | The latest decision per item and strategy version.
current_gold | The latest label per gold set version and item.
current_certificates | Each certificate with its latest event.
current_votes | The latest answer of each annotator on each task.
task_outcomes | Each review task with its state (open, agreed, disputed, escalated, adjudicated, closed) and final label.
final_labels | One label per item: what people decided last (appeal, adjudication, agreement), else what was auto-accepted.
current_experiments | Each experiment with its state and plan.
strategy_answers | The latest answer per strategy version, repeat and item, from runs, arms and shadows.
current_alarms | Each alarm with its state, when it began, and the last person told.
current_measurements | The latest measurement of each project, kind and subject.
current_findings | Each finding with its state, owner, cause, action and check.
item_trace | The steps of each item in each run in order; a step stored twice shows its latest row.
"""
