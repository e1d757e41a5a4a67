//! Pages as the registry writes them, without a registry.

use serde_json::json;

const CREATED_MS: u64 = 1_700_000_000_000;

/// Page `page_no` of a list whose tasks all have this status.
pub(crate) fn body(page_no: u32, status: &str) -> Vec<u8> {
    let first = u64::from(page_no) * 100;
    let tasks: Vec<_> = (first..first + 100)
        .map(|n| {
            let created_ms = CREATED_MS - n * 1_000;
            json!({
                "SyncTaskId": format!("rst-4kfd7fk6pohk{n:08}"),
                "SyncBatchTaskId": format!("15DEEB56-9271-4FDD-AC4D-C3A5CC2C{:04}", n / 25),
                "SyncRuleId": "crsr-7lph66uloi6h0001", "TaskStatus": status, "TaskIssue": "",
                "TaskTrigger": "PASSIVE", "Priority": 3, "CrossUser": false, "CustomLink": false,
                "SyncTransAccelerate": false, "CreateTime": created_ms,
                "ModifedTime": created_ms + 42_000, "ModifiedTime": created_ms + 42_000,
                "ImageFrom": {"RegionId": "cn-shanghai", "InstanceId": "cri-kmsiwlxxdcva0001",
                    "RepoNamespaceName": "team-a", "RepoName": "checkout", "ImageTag": format!("v{n}")},
                "ImageTo": {"RegionId": "cn-shenzhen", "InstanceId": "cri-k77rd2eo9zttneqo",
                    "RepoNamespaceName": "team-a", "RepoName": "checkout", "ImageTag": format!("v{n}")}
            })
        })
        .collect();
    let body = json!({
        "RequestId": "7640819A-FB5B-4E25-A227-97717F62", "Code": "success", "IsSuccess": true,
        "PageNo": page_no, "PageSize": 100, "TotalCount": "1000000", "SyncTasks": tasks
    });
    body.to_string().into_bytes()
}
