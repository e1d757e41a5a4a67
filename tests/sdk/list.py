"""The vendor's official Python SDK on `syncbell simulate`: pages, refusals, and the other operations."""

import sys

from alibabacloud_cr20181201.client import Client
from alibabacloud_cr20181201 import models
from alibabacloud_tea_openapi import models as openapi


def client(endpoint, secret):
    config = openapi.Config(
        access_key_id="simulatorAccessKeyId",
        access_key_secret=secret,
        endpoint=endpoint,
        protocol="http",
    )
    return Client(config)


def page(api, instance, number, size):
    request = models.ListRepoSyncTaskRequest(instance_id=instance, page_no=number, page_size=size)
    return api.list_repo_sync_task(request).body


def refusal(call):
    try:
        answer = call()
    except Exception as error:  # the SDK's exceptions share no base class across versions
        return getattr(error, "code", None) or str(error)
    return "IsSuccess=%s %s" % (answer.is_success, answer.code)


def main(endpoint, instance):
    api = client(endpoint, "simulatorAccessKeySecret")
    first = page(api, instance, 1, 15)
    second = page(api, instance, 2, 15)
    ids = [task.sync_task_id for task in (first.sync_tasks or []) + (second.sync_tasks or [])]
    assert first.is_success and int(first.total_count) == 20, first
    assert len(ids) == 20 and len(set(ids)) == 20, ids
    assert all(task.image_from and task.task_status for task in first.sync_tasks)
    wrong = refusal(lambda: page(client(endpoint, "wrong"), instance, 1, 30))
    assert "SignatureDoesNotMatch" in wrong, wrong
    unknown = refusal(lambda: page(api, "cri-unknown", 1, 30))
    assert "INSTANCE_NOT_EXIST" in unknown, unknown
    others(api, instance, ids[0])
    print("sdk: 20 tasks on 2 pages; refusals: %s; %s" % (wrong, unknown))


def others(api, instance, task_id):
    """The other operations: every field that the SDK declares and the simulator has comes through."""
    request = models.GetRepoSyncTaskRequest(instance_id=instance, sync_task_id=task_id)
    task = api.get_repo_sync_task(request).body
    assert task.is_success and task.sync_task_id == task_id, task
    assert task.task_status == "SUCCESS" and task.progress == 1 and task.synced_size > 0, task
    assert task.image_from.repo_name and task.image_to.region_id, task
    layers = task.layer_tasks
    assert layers and all(layer.digest and layer.size and layer.task_status for layer in layers), task
    gone = models.GetRepoSyncTaskRequest(instance_id=instance, sync_task_id="rst-none")
    code = refusal(lambda: api.get_repo_sync_task(gone).body)
    assert "SYNC_TASK_NOT_EXIST" in code, code
    instances = api.list_instance(models.ListInstanceRequest()).body
    found = [known.instance_id for known in instances.instances]
    assert instances.total_count == 1 and found == [instance], instances
    assert instances.instances[0].create_time.isdigit(), instances
    rules = api.list_repo_sync_rule(models.ListRepoSyncRuleRequest(instance_id=instance)).body
    assert rules.is_success and rules.total_count == 0, rules


main(sys.argv[1], sys.argv[2])
