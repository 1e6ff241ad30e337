"""The agent queue's server against clients that others wrote: grpcio's generated code, and `buf curl` by reflection.

Run by `.ci/queue-clients`, which generates the code and sets QUEUE_COMMAND (the command) and QUEUE_BUF (buf).
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
import uuid

import grpc
from agent_queue.v1 import agent_queue_pb2 as pb
from agent_queue.v1 import agent_queue_pb2_grpc as stubs

SERVICE = "agent_queue.v1.AgentQueue"
METHODS = sorted(method.name for method in pb.DESCRIPTOR.services_by_name["AgentQueue"].methods)
PENDING, PROCESSING = pb.TASK_STATUS_PENDING, pb.TASK_STATUS_PROCESSING
COMPLETED, FAILED, CANCELLED = pb.TASK_STATUS_COMPLETED, pb.TASK_STATUS_FAILED, pb.TASK_STATUS_CANCELLED


class Server:
    """`tonic-supervisor serve` with a SQLite file of its own, and the file of `--auth` if its text is given."""

    def __init__(self, auth=None):
        self.folder = tempfile.TemporaryDirectory()
        store = f"sqlite:{self.folder.name}/queue.db"
        arguments = [os.environ["QUEUE_COMMAND"], "--json", "serve", "--addr", "127.0.0.1:0", "--store", store]
        if auth:
            file = os.path.join(self.folder.name, "auth.yaml")
            with open(file, "w") as out:
                out.write(auth)
            os.chmod(file, 0o600)
            arguments += ["--auth", file]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        self.address = json.loads(self.process.stdout.readline())["address"]

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()


class Recorder(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Notes which methods were called."""

    def __init__(self):
        self.called = set()

    def intercept_unary_unary(self, call, details, request):
        self.called.add(details.method.rpartition("/")[2])
        return call(details, request)

    intercept_unary_stream = intercept_unary_unary


class Signer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Sends a token with each call. grpcio's own call credentials do not go over plaintext, not even on one machine."""

    def __init__(self, token):
        self.metadata = ("authorization", f"Bearer {token}")

    def intercept_unary_unary(self, call, details, request):
        return call(details._replace(metadata=[*(details.metadata or []), self.metadata]), request)

    intercept_unary_stream = intercept_unary_unary


def name():
    return str(uuid.uuid4())


def new_task(payload="{}", **fields):
    fields = {"type": pb.TASK_TYPE_TEXT_ANALYSIS, "client_request_id": name()} | fields
    return pb.NewTask(payload=payload, **fields)


class Grpcio(unittest.TestCase):
    """grpcio's generated client. The last test, by the alphabet, sees that every operation was used."""

    # What `--auth` says, and the token to send.
    auth, token = None, None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.auth)
        cls.addClassCleanup(cls.server.close)
        cls.channel = grpc.insecure_channel(cls.server.address)
        cls.addClassCleanup(cls.channel.close)
        cls.recorder = Recorder()
        signer = [Signer(cls.token)] if cls.token else []
        cls.queue = stubs.AgentQueueStub(grpc.intercept_channel(cls.channel, cls.recorder, *signer))

    def setUp(self):
        self.agent = f"agent-{name()}"
        self.queue.CreateQueue(pb.CreateQueueRequest(agent_id=self.agent))

    def submit(self, **fields):
        request = pb.SubmitTaskRequest(agent_id=self.agent, task=new_task(**fields))
        return self.queue.SubmitTask(request).task_id

    def claim(self, claim_id, timeout=0):
        return self.queue.GetTask(pb.GetTaskRequest(agent_id=self.agent, claim_id=claim_id, timeout=timeout))

    def update(self, task_id, claim_id, status, **fields):
        request = pb.UpdateTaskStatusRequest(
            agent_id=self.agent, task_id=task_id, claim_id=claim_id, status=status, **fields
        )
        return self.queue.UpdateTaskStatus(request).task

    def end(self, status, **fields):
        """Submits a task, claims it and ends it."""
        task_id, claim_id = self.submit(), name()
        self.assertEqual(self.claim(claim_id).task.task_id, task_id)
        self.update(task_id, claim_id, status, **fields)
        return task_id

    def query(self, task_id):
        return self.queue.QueryTask(pb.QueryTaskRequest(agent_id=self.agent, task_id=task_id)).task

    def refused(self, code, words, call, request):
        with self.assertRaises(grpc.RpcError) as caught:
            call(request)
        self.assertEqual(caught.exception.code(), code)
        self.assertIn(words, caught.exception.details())

    def test_the_server_says_that_it_is_well(self):
        answer = self.queue.HealthCheck(pb.HealthCheckRequest())
        self.assertTrue(answer.healthy and answer.message and answer.version, answer)

    def test_a_queue_is_made_once_found_and_deleted(self):
        self.assertTrue(self.queue.CreateQueue(pb.CreateQueueRequest(agent_id=self.agent)).already_exists)
        self.submit()
        exists = lambda: self.queue.QueueExists(pb.QueueExistsRequest(agent_id=self.agent)).exists
        self.assertTrue(exists())
        page = self.queue.ListQueues(pb.ListQueuesRequest(limit=1000))
        self.assertIn((self.agent, 1), [(queue.agent_id, queue.tasks.pending) for queue in page.queues])
        first = self.queue.ListQueues(pb.ListQueuesRequest(limit=1))
        self.assertEqual(first.HasField("next_after"), len(page.queues) > 1)
        unsure = pb.DeleteQueueRequest(agent_id=self.agent)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "confirm", self.queue.DeleteQueue, unsure)
        gone = self.queue.DeleteQueue(pb.DeleteQueueRequest(agent_id=self.agent, confirm=True))
        self.assertEqual((gone.existed, gone.deleted), (True, 1))
        self.assertFalse(exists())
        info = pb.GetQueueInfoRequest(agent_id=self.agent)
        self.refused(grpc.StatusCode.NOT_FOUND, self.agent, self.queue.GetQueueInfo, info)

    def test_the_quick_start_of_the_docs_runs_as_it_stands_there(self):
        with open("docs/agent-queue.md", encoding="utf-8") as page:
            program = page.read().split("```python\n")[1].split("```")[0]
        environment = os.environ | {"QUEUE": self.server.address, "QUEUE_TOKEN": self.token or "anything"}
        ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertRegex(ran.stdout, r'^task-\d+ \{"n": 1\} held for 60 s\n$')

    def test_a_queue_is_cleared_by_status_and_whole(self):
        self.end(COMPLETED)
        for _ in range(3):
            self.submit()
        clear = lambda **fields: self.queue.ClearQueue(
            pb.ClearQueueRequest(agent_id=self.agent, confirm=True, client_request_id=name(), **fields)
        ).deleted
        self.assertEqual(clear(status=COMPLETED), 1)
        self.assertEqual(clear(), 3)

    def test_the_same_submission_twice_gives_one_task(self):
        request = pb.SubmitTaskRequest(agent_id=self.agent, task=new_task('{"n": 1}'))
        first, again = self.queue.SubmitTask(request), self.queue.SubmitTask(request)
        self.assertEqual(first.task_id, again.task_id)
        self.assertEqual((first.already_submitted, again.already_submitted), (False, True))
        bad = pb.SubmitTaskRequest(agent_id=self.agent, task=new_task("{"))
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "task.payload", self.queue.SubmitTask, bad)

    def test_the_highest_priority_goes_first_and_a_repeated_claim_gets_the_same_task(self):
        batch = [new_task('"low"', priority=0), new_task('"high"', priority=9), new_task('"later"', priority=9)]
        request = pb.BatchSubmitTasksRequest(agent_id=self.agent, tasks=batch)
        low, high, later = [task.task_id for task in self.queue.BatchSubmitTasks(request).tasks]
        first, again = self.claim("claim"), self.claim("claim")
        self.assertEqual((first.task.task_id, again.task.task_id), (high, high))
        self.assertEqual(first.task.payload, '"high"')
        self.assertGreater(first.lease, 0)
        self.assertEqual([self.claim(name()).task.task_id for _ in range(2)], [later, low])
        self.assertFalse(self.claim(name()).HasField("task"))

    def test_a_waiting_claim_gets_what_comes(self):
        submitter = threading.Timer(0.3, self.submit)
        submitter.start()
        answer = self.claim(name(), timeout=30)
        submitter.join()
        self.assertEqual(answer.task.status, PROCESSING)

    def test_a_claim_is_kept_given_back_and_ended(self):
        task_id = self.submit()
        self.claim("first")
        self.assertEqual(self.update(task_id, "first", PROCESSING).status, PROCESSING)
        self.assertEqual(self.update(task_id, "first", PENDING).status, PENDING)
        self.claim("second")
        late = pb.UpdateTaskStatusRequest(agent_id=self.agent, task_id=task_id, claim_id="first", status=COMPLETED)
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, "first", self.queue.UpdateTaskStatus, late)
        done = self.update(task_id, "second", COMPLETED, result='{"rows": 3}')
        self.assertEqual((done.status, done.result, done.claims), (COMPLETED, '{"rows": 3}', 2))
        self.assertEqual(self.query(task_id), done)

    def test_a_task_is_cancelled_with_a_reason(self):
        task_id = self.submit()
        request = pb.CancelTaskRequest(
            agent_id=self.agent, task_id=task_id, reason="not needed", client_request_id=name()
        )
        task = self.queue.CancelTask(request).task
        self.assertEqual((task.status, task.error_message), (CANCELLED, "not needed"))

    def test_a_failed_task_is_tried_again_as_a_new_one(self):
        failed, done = self.end(FAILED, error_message="no disk"), self.end(COMPLETED)
        retry = lambda task_id: pb.RetryTaskRequest(agent_id=self.agent, task_id=task_id, client_request_id=name())
        again = self.query(self.queue.RetryTask(retry(failed)).task_id)
        self.assertEqual((again.retry_of, again.status), (failed, PENDING))
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, done, self.queue.RetryTask, retry(done))

    def test_tasks_are_deleted_one_by_one_and_many_at_once(self):
        one, two, three = self.submit(), self.submit(), self.submit()
        self.queue.DeleteTask(pb.DeleteTaskRequest(agent_id=self.agent, task_id=one, client_request_id=name()))
        gone = pb.QueryTaskRequest(agent_id=self.agent, task_id=one)
        self.refused(grpc.StatusCode.NOT_FOUND, one, self.queue.QueryTask, gone)
        many = pb.BatchDeleteTasksRequest(agent_id=self.agent, task_ids=[two, one, three], client_request_id=name())
        answer = self.queue.BatchDeleteTasks(many)
        self.assertEqual((answer.deleted, list(answer.not_found)), (2, [one]))

    def test_tasks_are_listed_in_pages_and_by_status(self):
        done = self.end(COMPLETED)
        waiting = [self.submit() for _ in range(3)]
        page = self.queue.ListTasks(pb.ListTasksRequest(agent_id=self.agent, limit=2))
        self.assertEqual(([task.task_id for task in page.tasks], page.total), ([done, waiting[0]], 4))
        rest = self.queue.ListTasks(pb.ListTasksRequest(agent_id=self.agent, offset=page.next_offset))
        self.assertEqual([task.task_id for task in rest.tasks], waiting[1:])
        self.assertFalse(rest.HasField("next_offset"))
        pending = pb.GetTasksByStatusRequest(agent_id=self.agent, status=PENDING)
        self.assertEqual([task.task_id for task in self.queue.GetTasksByStatus(pending).tasks], waiting)

    def test_what_a_queue_holds_and_did_is_counted(self):
        self.end(COMPLETED)
        self.end(FAILED)
        self.submit(type=pb.TASK_TYPE_CUSTOM, custom_type="resize")
        info = self.queue.GetQueueInfo(pb.GetQueueInfoRequest(agent_id=self.agent))
        self.assertTrue(info.HasField("created_at"))
        stats = self.queue.GetTaskStats(pb.GetTaskStatsRequest(agent_id=self.agent))
        self.assertEqual(info.tasks, pb.TaskCounts(pending=1, completed=1, failed=1))
        self.assertEqual(stats.tasks, info.tasks)
        kinds = {count.type: count.tasks for count in stats.types}
        self.assertEqual(kinds, {pb.TASK_TYPE_TEXT_ANALYSIS: 2, pb.TASK_TYPE_CUSTOM: 1})
        self.assertTrue(stats.HasField("oldest_pending") and stats.HasField("average_run"), stats)

    def test_a_watch_tells_changes_and_goes_on_from_its_cursor(self):
        watch = self.queue.WatchQueue(pb.WatchQueueRequest(agent_id=self.agent), timeout=30)
        first = next(watch)
        self.assertEqual(list(first.changes), [])
        task_id = self.submit()
        self.assertEqual(next(watch).changes[0].task.task_id, task_id)
        watch.cancel()
        self.queue.DeleteTask(pb.DeleteTaskRequest(agent_id=self.agent, task_id=task_id, client_request_id=name()))
        again = self.queue.WatchQueue(pb.WatchQueueRequest(agent_id=self.agent, cursor=first.cursor), timeout=30)
        change = next(again).changes[0]
        self.assertEqual((change.task_id, change.HasField("task")), (task_id, False))
        again.cancel()

    def test_zz_every_operation_of_the_service_was_used(self):
        self.assertEqual(sorted(self.recorder.called), METHODS)


class GrpcioWithAToken(Grpcio):
    """The same once more, with a token whose grants are for queues of these names."""

    @classmethod
    def setUpClass(cls):
        made = subprocess.run([os.environ["QUEUE_COMMAND"], "token", "py"], capture_output=True, text=True, check=True)
        cls.token, _, lines = made.stdout.partition("\n")
        may = "may: [submit, work, look, cancel, delete]"
        # The tests' queues, and that of the page's program.
        grants = ", ".join(f'{{ queues: "{queues}", {may} }}' for queues in ["agent-*", "agent_001"])
        cls.auth = f"{lines.rstrip()}\n      grants: [{grants}]\n"
        super().setUpClass()

    def test_another_queue_is_refused_whether_it_exists_or_not(self):
        another = pb.CreateQueueRequest(agent_id="another")
        self.refused(grpc.StatusCode.PERMISSION_DENIED, '"py" may not', self.queue.CreateQueue, another)
        watch = self.queue.WatchQueue(pb.WatchQueueRequest(agent_id="another"))
        self.refused(grpc.StatusCode.PERMISSION_DENIED, '"py" may not', next, watch)

    def test_without_the_token_nothing_is_answered(self):
        health = pb.HealthCheckRequest()
        for signer in [[], [Signer("aqt_wrong")]]:
            queue = stubs.AgentQueueStub(grpc.intercept_channel(self.channel, *signer))
            self.refused(grpc.StatusCode.UNAUTHENTICATED, "", queue.HealthCheck, health)


class Drain(unittest.TestCase):
    """The end of a server."""

    def test_a_waiting_claim_is_answered_empty_when_the_server_is_told_to_stop(self):
        server = Server()
        self.addCleanup(server.close)
        with grpc.insecure_channel(server.address) as channel:
            queue = stubs.AgentQueueStub(channel)
            queue.CreateQueue(pb.CreateQueueRequest(agent_id="a"))
            waiting = queue.GetTask.future(pb.GetTaskRequest(agent_id="a", claim_id="c", timeout=60))
            # One connection, in order: when this is answered, the claim was read.
            queue.HealthCheck(pb.HealthCheckRequest())
            self.assertEqual(server.terminate(), 0)
            self.assertFalse(waiting.result(timeout=5).HasField("task"))


class Buf(unittest.TestCase):
    """`buf curl`, which knows of the service only what the server tells it."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)

    def curl(self, *arguments, method=""):
        command = [os.environ["QUEUE_BUF"], "curl", "--http2-prior-knowledge", "--protocol", "grpc", *arguments]
        return subprocess.run([*command, f"http://{self.server.address}{method}"], capture_output=True, text=True)

    def call(self, method, **request):
        said = self.curl("--data", json.dumps(request), method=f"/{method}")
        self.assertEqual(said.returncode, 0, said.stderr)
        return json.loads(said.stdout)

    def test_both_versions_of_reflection_list_the_services(self):
        for version in ["grpc-v1", "grpc-v1alpha"]:
            said = self.curl("--reflect-protocol", version, "--list-services")
            self.assertTrue({SERVICE, "grpc.health.v1.Health"} <= set(said.stdout.split()), said)

    def test_every_method_is_listed(self):
        said = self.curl("--list-methods")
        methods = {line.rpartition("/")[2] for line in said.stdout.split() if line.startswith(f"{SERVICE}/")}
        self.assertEqual(sorted(methods), METHODS, said)

    def test_a_task_goes_through_the_queue(self):
        agent = {"agentId": "from-buf"}
        self.call(f"{SERVICE}/CreateQueue", **agent)
        task = {"type": "TASK_TYPE_CUSTOM", "customType": "resize", "payload": "[1]", "clientRequestId": "r"}
        task_id = self.call(f"{SERVICE}/SubmitTask", **agent, task=task)["taskId"]
        claimed = self.call(f"{SERVICE}/GetTask", **agent, claimId="c")
        self.assertEqual((claimed["task"]["taskId"], claimed["task"]["payload"]), (task_id, "[1]"))
        done = self.call(
            f"{SERVICE}/UpdateTaskStatus", **agent, taskId=task_id, claimId="c", status="TASK_STATUS_COMPLETED"
        )
        self.assertEqual(done["task"]["status"], "TASK_STATUS_COMPLETED")

    def test_bad_input_is_refused_in_words(self):
        said = self.curl("--data", '{"agentId": ""}', method=f"/{SERVICE}/CreateQueue")
        self.assertNotEqual(said.returncode, 0)
        error = json.loads(said.stderr)
        self.assertEqual(error["code"], "invalid_argument")
        self.assertIn("agent_id", error["message"])

    def test_the_health_service_says_serving_of_the_server_and_of_the_queue(self):
        for service in ["", SERVICE]:
            self.assertEqual(self.call("grpc.health.v1.Health/Check", service=service), {"status": "SERVING"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
