"""The agent queue through the client that grpcio-tools generates: the seed's users write Python.

client.py HOST:PORT; the generated modules must be on the path.
"""

import json
import sys
import threading

import grpc
from agent_queue.v1 import agent_queue_pb2 as messages
from agent_queue.v1 import agent_queue_pb2_grpc as service

AGENT = "python-agent"


def refused(code, call, request):
    """The call fails with this code; returns its words."""
    try:
        call(request, timeout=10)
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error.details()
    raise AssertionError(f"{request} was not refused")


def main(address):
    channel = grpc.insecure_channel(address)
    grpc.channel_ready_future(channel).result(timeout=20)
    queue = service.AgentQueueStub(channel)

    assert queue.HealthCheck(messages.HealthCheckRequest(), timeout=10).healthy
    made = queue.CreateQueue(messages.CreateQueueRequest(agent_id=AGENT), timeout=10)
    assert not made.already_exists
    assert queue.CreateQueue(messages.CreateQueueRequest(agent_id=AGENT), timeout=10).already_exists

    task = messages.NewTask(
        type=messages.TASK_TYPE_DATA_PROCESSING, payload=json.dumps({"rows": 100}), priority=9, client_request_id="r1"
    )
    submit = messages.SubmitTaskRequest(agent_id=AGENT, task=task)
    first = queue.SubmitTask(submit, timeout=10)
    again = queue.SubmitTask(submit, timeout=10)
    assert (again.task_id, again.already_submitted) == (first.task_id, True)

    claim = messages.GetTaskRequest(agent_id=AGENT, claim_id="c1", timeout=5)
    claimed = queue.GetTask(claim, timeout=10)
    assert claimed.task.task_id == first.task_id and claimed.lease > 0
    assert queue.GetTask(claim, timeout=10).task.task_id == first.task_id
    update = messages.UpdateTaskStatusRequest(
        agent_id=AGENT, task_id=first.task_id, claim_id="c1", status=messages.TASK_STATUS_COMPLETED, result='{"ok": true}'
    )
    assert queue.UpdateTaskStatus(update, timeout=10).task.status == messages.TASK_STATUS_COMPLETED
    query = messages.QueryTaskRequest(agent_id=AGENT, task_id=first.task_id)
    assert json.loads(queue.QueryTask(query, timeout=10).task.result) == {"ok": True}

    # A claim waits on the server until a task comes.
    found = []
    waiting = threading.Thread(
        target=lambda: found.append(
            queue.GetTask(messages.GetTaskRequest(agent_id=AGENT, claim_id="c2", timeout=30), timeout=40)
        )
    )
    waiting.start()
    tasks = [messages.NewTask(type=messages.TASK_TYPE_CUSTOM, custom_type="x", payload="1", client_request_id=f"b{n}") for n in range(3)]
    batch = queue.BatchSubmitTasks(messages.BatchSubmitTasksRequest(agent_id=AGENT, tasks=tasks), timeout=10)
    waiting.join(timeout=20)
    assert found and found[0].task.task_id == batch.tasks[0].task_id

    watch = queue.WatchQueue(messages.WatchQueueRequest(agent_id=AGENT, cursor=0), timeout=20)
    told = {change.task_id for change in next(watch).changes}
    assert told == {first.task_id, *(task.task_id for task in batch.tasks)}, told
    watch.cancel()

    counts = queue.GetQueueInfo(messages.GetQueueInfoRequest(agent_id=AGENT), timeout=10).tasks
    assert (counts.pending, counts.processing, counts.completed) == (2, 1, 1)
    listed = queue.GetTasksByStatus(
        messages.GetTasksByStatusRequest(agent_id=AGENT, status=messages.TASK_STATUS_PENDING), timeout=10
    )
    assert listed.total == 2

    words = refused(grpc.StatusCode.INVALID_ARGUMENT, queue.GetTask, messages.GetTaskRequest(agent_id=AGENT, claim_id="c", timeout=61))
    assert words.startswith('timeout: "61" must be 0 to 60'), words
    refused(grpc.StatusCode.NOT_FOUND, queue.GetTaskStats, messages.GetTaskStatsRequest(agent_id="nobody"))
    refused(grpc.StatusCode.FAILED_PRECONDITION, queue.RetryTask, messages.RetryTaskRequest(agent_id=AGENT, task_id=first.task_id, client_request_id="t1"))

    deleted = queue.DeleteQueue(messages.DeleteQueueRequest(agent_id=AGENT, confirm=True), timeout=10)
    assert (deleted.existed, deleted.deleted) == (True, 4)
    print("grpcio: all well")


if __name__ == "__main__":
    main(sys.argv[1])
